#include "server/security/identify.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/time/clock.h"

namespace ptychoserve::server {
namespace {

AccessPolicy Policy() {
  AccessPolicy policy;
  policy.principals = {
      {.name = "detector", .tenant = "a", .role = Role::kProducer, .token = Sha256("secret-1")},
      {.name = "old",
       .role = Role::kAdmin,
       .token = Sha256("secret-2"),
       .expires = absl::FromUnixSeconds(1000)},
      {.name = "socket", .tenant = "b", .role = Role::kViewer, .unix_socket = true},
      {.name = "dash", .tenant = "*", .role = Role::kOperator, .certificate = "dash.example"}};
  return policy;
}

Identity Show(Presented presented, absl::Time now = absl::Now()) {
  return Identify(Policy(), presented, now);
}

TEST(Identify, ByToken) {
  const Identity identity = Show({.token = "secret-1"});
  ASSERT_TRUE(identity.caller);
  EXPECT_EQ(identity.caller->name, "detector");
  EXPECT_EQ(identity.caller->tenant, "a");
  EXPECT_EQ(identity.caller->role, Role::kProducer);
  EXPECT_FALSE(identity.caller->all_tenants);
}

TEST(Identify, AWrongTokenIsNobodyHoweverItComes) {
  for (const char* token : {"secret", "secret-1 ", "SECRET-1", "secret-11"}) {
    const Identity identity =
        Show({.token = token, .certificates = {"dash.example"}, .unix_socket = true});
    EXPECT_FALSE(identity.caller) << token;
    EXPECT_EQ(identity.why, Unrecognised::kUnknown);
  }
}

TEST(Identify, UntilItExpires) {
  EXPECT_TRUE(Show({.token = "secret-2"}, absl::FromUnixSeconds(999)).caller);
  const Identity identity = Show({.token = "secret-2"}, absl::FromUnixSeconds(1000));
  EXPECT_FALSE(identity.caller);
  EXPECT_EQ(identity.why, Unrecognised::kExpired);
}

TEST(Identify, ByConnection) {
  EXPECT_EQ(Show({}).why, Unrecognised::kMissing);
  EXPECT_EQ(Show({.unix_socket = true}).caller->name, "socket");
  const Identity dash = Show({.certificates = {"x", "dash.example"}});
  EXPECT_EQ(dash.caller->name, "dash");
  EXPECT_EQ(dash.caller->tenant, "default");
  EXPECT_TRUE(dash.caller->all_tenants);
  EXPECT_FALSE(Show({.certificates = {"dash.example.org"}}).caller);
}

}  // namespace
}  // namespace ptychoserve::server
