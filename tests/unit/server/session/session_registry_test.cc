#include "server/session/session_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <future>
#include <optional>
#include <string>

#include "absl/strings/str_replace.h"
#include "server/security/caller.h"
#include "server/service/errors.h"
#include "tests/unit/engine/solver/fake_device.h"
#include "tests/unit/engine/test_config.h"

namespace ptychoserve::server {
namespace {

class SessionRegistryTest : public testing::Test {
 protected:
  static std::vector<std::unique_ptr<Device>> OneDevice() {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::make_unique<FakeDevice>());
    return devices;
  }
  ~SessionRegistryTest() override { devices_.Stop(); }

  absl::StatusOr<SessionRegistry::Created> Create(const std::string& id, int capacity = 64) {
    return CreateFor(kDefaultTenant, id, std::nullopt, capacity);
  }
  absl::StatusOr<SessionRegistry::Created> CreateFor(const std::string& tenant,
                                                     const std::string& id,
                                                     std::optional<std::int64_t> most = {},
                                                     int capacity = 64) {
    v1::SessionConfig requested;
    requested.mutable_scan()->set_capacity(static_cast<std::uint32_t>(capacity));
    const SessionKey key{tenant, id};
    const auto make = [&]() -> absl::StatusOr<std::shared_ptr<Session>> {
      const ReconstructionConfig config = Resolve(SmallConfig());
      auto placement = devices_.Place(config, 1 << 20);
      if (!placement.ok()) return placement.status();
      return Session::Create({.key = key, .requested = requested, .config = config},
                             *std::move(placement), {.staging_bytes = 1 << 20},
                             {notify_, journal_, files_, leisure_});
    };
    return registry_.Create(key, requested, most, make);
  }
  std::vector<std::string> Ids(const SessionRegistry::Page& page) {
    std::vector<std::string> ids;
    for (const auto& session : page.sessions) ids.push_back(session->id());
    return ids;
  }

  WorkerPool notify_{1}, journal_{1}, files_{1}, leisure_{1};
  DeviceSet devices_{OneDevice(), std::int64_t{1} << 30, [] {}};
  SessionRegistry registry_{5};
};

TEST_F(SessionRegistryTest, CreatingAgainReturnsTheSameSession) {
  const auto first = Create("a");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->existed);
  const auto second = Create("a");
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(second->existed);
  EXPECT_EQ(second->session, first->session);
  EXPECT_EQ(Create("a", 65).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(SessionRegistryTest, LimitCountsSessionsThatAreThere) {
  for (const char* id : {"a", "b", "c", "d", "e"}) ASSERT_TRUE(Create(id).ok());
  const auto refused = Create("f");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused.status()), reason::kSessionLimit);
  EXPECT_TRUE(Create("c").ok()) << "one that exists is no new one";
  ASSERT_TRUE(registry_.Remove(kDefaultTenant, "sessions/c", /*force=*/true).ok());
  EXPECT_TRUE(Create("f").ok());
}

TEST_F(SessionRegistryTest, PagesGoOnWhereTheyWereWhateverIsDeletedOrCreated) {
  for (const char* id : {"b", "d", "f"}) ASSERT_TRUE(Create(id).ok());
  auto page = registry_.List(kDefaultTenant, 2, "");
  ASSERT_TRUE(page.ok());
  EXPECT_THAT(Ids(*page), testing::ElementsAre("b", "d"));
  const std::string token = page->next_page_token;
  ASSERT_FALSE(token.empty());
  ASSERT_TRUE(registry_.Remove(kDefaultTenant, "sessions/d", /*force=*/true).ok());
  ASSERT_TRUE(Create("a").ok());
  ASSERT_TRUE(Create("e").ok());
  page = registry_.List(kDefaultTenant, 5, token);
  ASSERT_TRUE(page.ok());
  EXPECT_THAT(Ids(*page), testing::ElementsAre("e", "f"));
  EXPECT_EQ(page->next_page_token, "");
  EXPECT_EQ(registry_.List(kDefaultTenant, 5, "nonsense!").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(registry_.List(kDefaultTenant, -1, "").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SessionRegistryTest, ActiveSessionIsRemovedByForceOnly) {
  ASSERT_TRUE(Create("a").ok());
  const auto refused = registry_.Remove(kDefaultTenant, "sessions/a", /*force=*/false);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(refused.status()), reason::kSessionActive);
  EXPECT_TRUE(registry_.Remove(kDefaultTenant, "sessions/a", /*force=*/true).ok());
  EXPECT_EQ(registry_.Get(kDefaultTenant, "sessions/a").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(SessionRegistryTest, NamesAreChecked) {
  for (const char* name : {"", "a", "sessions/", "sessions/A", "sessions/a/b", "sessions/a b"}) {
    EXPECT_EQ(registry_.Get(kDefaultTenant, name).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_TRUE(CheckSessionId(std::string(63, 'x')).ok());
  EXPECT_FALSE(CheckSessionId(std::string(64, 'x')).ok());
  EXPECT_TRUE(CheckSessionId(MakeSessionId()).ok());
  EXPECT_NE(MakeSessionId(), MakeSessionId());
}

TEST_F(SessionRegistryTest, TenantsDoNotSeeEachOthersSessions) {
  const auto mine = CreateFor("mine", "scan"), theirs = CreateFor("theirs", "scan", {}, 65);
  ASSERT_TRUE(mine.ok()) << mine.status();
  ASSERT_TRUE(theirs.ok()) << "the name is free for each of them: " << theirs.status();
  EXPECT_NE(mine->session, theirs->session);
  EXPECT_EQ(*registry_.Get("mine", "sessions/scan"), mine->session);
  ASSERT_TRUE(CreateFor("theirs", "other").ok());
  const absl::Status other = registry_.Get("mine", "sessions/other").status();
  EXPECT_EQ(other.message(),
            absl::StrReplaceAll(registry_.Get("mine", "sessions/nobody").status().message(),
                                {{"nobody", "other"}}))
      << "as if there were none";
  EXPECT_EQ(registry_.Remove("mine", "sessions/other", /*force=*/true).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(Ids(*registry_.List("mine", 9, "")), testing::ElementsAre("scan"));
  EXPECT_THAT(Ids(*registry_.List("theirs", 9, "")), testing::ElementsAre("other", "scan"));
  EXPECT_THAT(Ids(*registry_.List(std::nullopt, 9, "")),
              testing::ElementsAre("scan", "other", "scan"));
}

TEST_F(SessionRegistryTest, PagesOfOneTenantSkipTheOthers) {
  for (const char* tenant : {"a", "b", "c"}) {
    for (const char* id : {"1", "2"}) ASSERT_TRUE(CreateFor(tenant, id).ok() || tenant[0] == 'c');
  }
  const auto first = registry_.List("b", 1, "");
  EXPECT_THAT(Ids(*first), testing::ElementsAre("1"));
  const auto second = registry_.List("b", 1, first->next_page_token);
  EXPECT_THAT(Ids(*second), testing::ElementsAre("2"));
  EXPECT_EQ(second->next_page_token, "");
}

TEST_F(SessionRegistryTest, ATenantHasItsOwnLimit) {
  ASSERT_TRUE(CreateFor("mine", "a", 2).ok());
  ASSERT_TRUE(CreateFor("theirs", "a", 2).ok());
  ASSERT_TRUE(CreateFor("mine", "b", 2).ok());
  const auto refused = CreateFor("mine", "c", 2);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused.status()), reason::kTenantQuota);
  EXPECT_TRUE(CreateFor("mine", "b", 2).ok()) << "one that exists is no new one";
  EXPECT_TRUE(CreateFor("theirs", "b", 2).ok());
}

TEST_F(SessionRegistryTest, ClosedRegistryCreatesNothing) {
  registry_.Close();
  EXPECT_EQ(Create("a").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(SessionRegistryTest, EndedSessionGivesItsMemoryBackAndKeepsItsRecord) {
  const auto created = Create("a");
  ASSERT_TRUE(created.ok());
  const auto& memory = devices_.devices().front()->memory;
  EXPECT_EQ(memory.reserved_bytes(), 1000);
  std::promise<void> retired;
  created->session->WhenRetired([&] { retired.set_value(); });
  ASSERT_TRUE(created->session->reconstruction().Stop(/*abort=*/true).ok());
  retired.get_future().wait();
  EXPECT_EQ(memory.reserved_bytes(), 0);
  const auto states = created->session->reconstruction().state_changes(0);
  ASSERT_EQ(states.size(), 2u);
  EXPECT_EQ(states[0].state, SessionState::kCreated);
  EXPECT_EQ(states[1].state, SessionState::kStopped);
  EXPECT_TRUE(registry_.Get(kDefaultTenant, "sessions/a").ok());
  EXPECT_TRUE(created->session->ToProto().has_end_time());
}

}  // namespace
}  // namespace ptychoserve::server
