#include "tests/integration/server_test.h"

#include <algorithm>
#include <cctype>

namespace ptychoserve::integration {

std::unique_ptr<ServerProcess> ServerTest::server_;

void ServerTest::StartServer(const std::vector<std::string>& flags) {
  server_ = ServerProcess::Start(flags);
  ASSERT_NE(server_, nullptr);
}

void ServerTest::TearDownTestSuite() {
  if (server_ == nullptr) return;
  EXPECT_TRUE(server_->running()) << "the server has died:\n" << server_->log();
  EXPECT_EQ(server_->Terminate(), 0) << server_->log();
  server_.reset();
}

void ServerTest::SetUp() {
  ASSERT_NE(server_, nullptr);
  api_ = std::make_unique<Api>(server_->address());
}

std::string ServerTest::Id(const std::string& suffix) {
  constexpr std::size_t kMaxLength = 63;
  std::string id = testing::UnitTest::GetInstance()->current_test_info()->name();
  std::transform(id.begin(), id.end(), id.begin(), [](unsigned char c) {
    return std::isalnum(c) ? static_cast<char>(std::tolower(c)) : '-';
  });
  id = id.substr(0, kMaxLength - 1 - suffix.size());
  return suffix.empty() ? id : id + "-" + suffix;
}

std::string ServerTest::Create(const v1::SessionConfig& config, const std::string& suffix) {
  const auto created = api().Create(Id(suffix), config);
  EXPECT_THAT(created.status, IsOk());
  return created.value.name();
}

void ServerTest::SendAll(const std::string& name, const TestScan& scan) {
  PositionInput positions(api(), name);
  FrameInput frames(api(), name);
  EXPECT_TRUE(positions.Send(scan.Positions(0, scan.points())));
  EXPECT_THAT(positions.Finish(), IsOk());
  EXPECT_TRUE(frames.Send(scan.Frames(0, scan.points())));
  EXPECT_THAT(frames.Finish(), IsOk());
}

v1::Session ServerTest::RunScan(const TestScan& scan, int iterations, const std::string& suffix) {
  const std::string name = Create(scan.Config(iterations), suffix);
  SendAll(name, scan);
  return api().AwaitEnd(name).value;
}

std::string ServerTest::StartEndlessSession(const std::string& suffix) {
  v1::SessionConfig config = SmallScan().StreamingConfig(1);
  const std::string name = Create(config, suffix);
  SendAll(name, SmallScan());
  api().Await(name, [](const v1::Session& s) { return s.iteration() >= 3; });
  return name;
}

}  // namespace ptychoserve::integration
