// Calls and watches of a client whose server goes away and comes back.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "tests/unit/client/cpp/restarting_server.h"

namespace ptychoserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ResumingTest : public RestartingServer {
 protected:
  // A server whose calls are answered with its number, and whose watches tell it and last until
  // `end`.
  void StartNumbered(int number) {
    service_ = std::make_unique<FakeService>(port_, [this, number](FakeService& service) {
      service.get_session = [this, number](const v1::GetSessionRequest&, v1::Session* session) {
        if (breaks_-- > 0) return Unavailable();
        session->set_iteration(number);
        return grpc::Status::OK;
      };
      service.watch = [this, number](grpc::ServerContext* context,
                                     grpc::ServerWriter<v1::SessionEvent>* writer) {
        v1::SessionEvent event;
        event.mutable_session()->set_iteration(number);
        writer->Write(event);
        while (!context->IsCancelled() && !ends_) {
          std::this_thread::sleep_for(milliseconds(1));
        }
        return last_;
      };
    });
    port_ = service_->port();
  }
  std::unique_ptr<Client> Connect(const ClientOptions& options) {
    auto client = Client::Connect(service_->address(), options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  // What a watch has told.
  std::unique_ptr<Watch> Watching(Client& client) {
    return client.WatchSession(
        "s", milliseconds(10),
        [this](const v1::SessionEvent& event) {
          std::lock_guard lock(mu_);
          seen_.push_back(event.session().iteration());
        },
        [this](const absl::Status& status) {
          std::lock_guard lock(mu_);
          ends_seen_.push_back(status);
        },
        [this](const absl::Status& status) {
          std::lock_guard lock(mu_);
          breaks_seen_.push_back(status);
        });
  }
  std::vector<std::int64_t> seen() {
    std::lock_guard lock(mu_);
    return seen_;
  }
  std::vector<absl::Status> ends_seen() {
    std::lock_guard lock(mu_);
    return ends_seen_;
  }

  std::atomic<int> breaks_ = 0;
  std::atomic<bool> ends_ = false;
  grpc::Status last_ = grpc::Status::OK;
  std::mutex mu_;
  std::vector<std::int64_t> seen_;
  std::vector<absl::Status> ends_seen_, breaks_seen_;
};

TEST_F(ResumingTest, CallsAreMadeAgainUntilThereIsAnAnswer) {
  Stop();
  StartNumbered(7);
  breaks_ = 3;
  const auto session = client_->GetSession("s");
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ(session->iteration(), 7);
  EXPECT_LT(breaks_, 0);
}

TEST_F(ResumingTest, CallsWaitForAServerThatComesBack) {
  Stop();
  std::optional<absl::StatusOr<v1::Session>> session;
  std::thread caller([&] { session = client_->GetSession("s"); });
  StartNumbered(8);
  caller.join();
  ASSERT_TRUE(session->ok()) << session->status();
  EXPECT_EQ((*session)->iteration(), 8);
}

TEST_F(ResumingTest, CallsEndWithWhyThereIsNoAnswer) {
  ClientOptions options;
  options.unary_deadline = milliseconds(200);
  const auto client = Connect(options);
  Stop();
  EXPECT_EQ(client->GetSession("s").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ResumingTest, AWatchGoesOnWithAServerThatComesBack) {
  Stop();
  StartNumbered(1);
  const auto watch = Watching(*client_);
  ASSERT_TRUE(Eventually([&] { return seen().size() == 1; }));
  Stop();
  StartNumbered(2);
  ASSERT_TRUE(Eventually([&] { return seen().size() == 2; }));
  EXPECT_THAT(seen(), ElementsAre(1, 2));
  EXPECT_THAT(ends_seen(), SizeIs(0));
  ends_ = true;  // The session has ended.
  ASSERT_TRUE(Eventually([&] { return ends_seen().size() == 1; }));
  EXPECT_TRUE(ends_seen()[0].ok()) << ends_seen()[0];
  std::lock_guard lock(mu_);
  EXPECT_GE(breaks_seen_.size(), 1u);
}

TEST_F(ResumingTest, AWatchThatTheServerRefusesIsNotOpenedAgain) {
  Stop();
  last_ = {grpc::StatusCode::NOT_FOUND, "no such session"};
  ends_ = true;
  StartNumbered(1);
  const auto watch = Watching(*client_);
  ASSERT_TRUE(Eventually([&] { return ends_seen().size() == 1; }));
  EXPECT_THAT(ends_seen()[0].message(), HasSubstr("no such session"));
  EXPECT_THAT(seen(), ElementsAre(1));
}

TEST_F(ResumingTest, AWatchGivesUpWhenTheServerStaysAway) {
  ClientOptions options;
  options.watch_give_up_after = milliseconds(300);
  Stop();
  StartNumbered(1);
  const auto client = Connect(options);
  const auto watch = Watching(*client);
  ASSERT_TRUE(Eventually([&] { return seen().size() == 1; }));
  Stop();
  ASSERT_TRUE(Eventually([&] { return ends_seen().size() == 1; }));
  EXPECT_FALSE(ends_seen()[0].ok());
}

TEST_F(ResumingTest, AWatchCanBeEndedWhileTheServerIsAway) {
  Stop();
  StartNumbered(1);
  auto watch = Watching(*client_);
  ASSERT_TRUE(Eventually([&] { return seen().size() == 1; }));
  Stop();
  ASSERT_TRUE(Eventually([&] {
    std::lock_guard lock(mu_);
    return !breaks_seen_.empty();
  }));
  watch.reset();
  ASSERT_THAT(ends_seen(), SizeIs(1));
  EXPECT_EQ(ends_seen()[0].code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace ptychoserve::client
