#include "server/security/access_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace ptychoserve::server {
namespace {

using testing::HasSubstr;

std::string HexSha256(absl::string_view text) {
  const Digest digest = Sha256(text);
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

TEST(AccessPolicy, ReadsAllThatItKnows) {
  const auto policy = ParseAccessPolicy(absl::StrCat(R"(
principals:
  - {name: detector, tenant: beamline7, role: producer, sha256: )",
                                                     HexSha256("secret"), R"(,
     expires: 2027-01-31T00:00:00Z}
  - {name: local, role: producer, peer: unix}
  - {name: dashboard, tenant: "*", role: admin, certificate: dash.example.org}
tenants:
  beamline7: {max_sessions: 8, max_device_bytes: 20GB, max_ingest_bytes_per_s: 2MB,
              max_snapshots_per_s: 0.5}
)"));
  ASSERT_TRUE(policy.ok()) << policy.status();
  ASSERT_EQ(policy->principals.size(), 3u);
  const Principal& detector = policy->principals[0];
  EXPECT_EQ(detector.name, "detector");
  EXPECT_EQ(detector.tenant, "beamline7");
  EXPECT_EQ(detector.role, Role::kProducer);
  EXPECT_EQ(detector.token, Sha256("secret"));
  EXPECT_EQ(absl::FormatTime("%Y-%m-%d", detector.expires, absl::UTCTimeZone()), "2027-01-31");
  EXPECT_TRUE(policy->principals[1].unix_socket);
  EXPECT_EQ(policy->principals[1].tenant, "default");
  EXPECT_EQ(policy->principals[1].expires, absl::InfiniteFuture());
  EXPECT_EQ(policy->principals[2].certificate, "dash.example.org");
  EXPECT_EQ(policy->principals[2].tenant, "*");
  const TenantQuota& quota = policy->tenants.at("beamline7");
  EXPECT_EQ(quota.max_sessions, 8);
  EXPECT_EQ(quota.max_device_bytes, std::int64_t{20} << 30);
  EXPECT_EQ(quota.max_ingest_bytes_per_s, 2 << 20);
  EXPECT_EQ(quota.max_snapshots_per_s, 0.5);
}

TEST(AccessPolicy, SaysWhereAndWhatIsWrong) {
  const std::string digest = HexSha256("secret");
  const std::string principals = "principals:\n  - ";
  const struct {
    std::string text;
    const char* says;
  } cases[] = {
      {"", "not a list"},
      {"[", "not YAML"},
      {"principals: []\n", "lists no principals"},
      {"principal: []\n", "'principal' is not known; allowed: jwt, principals, tenants"},
      {principals + "{role: viewer, peer: unix}", "'name' is missing"},
      {principals + "{name: a, peer: unix}", "'role' is missing"},
      {principals + "{name: a, role: root, peer: unix}",
       "role: 'root'; allowed: viewer, producer, operator, admin"},
      {principals + "{name: a, role: viewer, peer: tcp}", "line 2: peer: 'tcp'; allowed: unix"},
      {principals + "{name: a, role: viewer}", "'a' has 0 of sha256, certificate, peer"},
      {principals + "{name: a, role: viewer, peer: unix, certificate: c}", "'a' has 2 of"},
      {principals + "{name: a, role: viewer, sha256: abc}", "not 64 hexadecimal digits"},
      {principals + "{name: a, role: viewer, sha256: " + std::string(64, 'x') + "}",
       "not 64 hexadecimal digits"},
      {principals + "{name: a, role: viewer, tenant: A, peer: unix}", "tenant: 'A'"},
      {principals + "{name: a, role: viewer, peer: unix, expires: tomorrow}",
       "expires: 'tomorrow'"},
      {principals + "{name: a, role: viewer, peer: unix, token: x}", "'token' is not known"},
      {principals + "{name: a, role: viewer, sha256: " + digest +
           "}\n  - {name: a, role: admin, peer: unix}",
       "line 3: principals: 'a' is there twice"},
      {principals + "{name: a, role: viewer, sha256: " + digest +
           "}\n  - {name: b, role: admin, sha256: " + digest + "}",
       "line 3: principals: 'b' and 'a' are recognised by the same"},
      {principals + "{name: a, role: viewer, certificate: c}\n  - {name: b, role: admin, "
                    "certificate: c}",
       "'b' and 'a' are recognised by the same"},
      {principals + "{name: a, role: viewer, peer: unix}\n  - {name: b, role: admin, peer: unix}",
       "'b' and 'a' are recognised by the same"},
      {principals + "{name: a, role: viewer, peer: unix}\ntenants: {A: {}}", "tenants: 'A'"},
      {principals + "{name: a, role: viewer, peer: unix}\ntenants: {a: {max_sessions: -1}}",
       "max_sessions: '-1'; allowed: > 0"},
      {principals + "{name: a, role: viewer, peer: unix}\ntenants: {a: {max_device_bytes: big}}",
       "max_device_bytes: 'big'"},
      {principals + "{name: a, role: viewer, peer: unix}\ntenants: {a: {max_device_bytes: 20XB}}",
       "max_device_bytes: '20XB'"},
      {principals + "{name: a, role: viewer, peer: unix}\ntenants: {a: {max_gpus: 1}}",
       "'max_gpus' is not known"},
      {"jwt: {issuer: x}", "'public_key' is missing"},
      {"jwt: {public_key: /nowhere.pem}", "/nowhere.pem: cannot be read"},
  };
  for (const auto& c : cases) {
    const auto policy = ParseAccessPolicy(c.text);
    EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument) << c.text;
    EXPECT_THAT(std::string(policy.status().message()), HasSubstr(c.says)) << c.text;
  }
}

TEST(AccessPolicy, NamesTheFile) {
  EXPECT_THAT(std::string(ReadAccessPolicy("/nowhere.yaml").status().message()),
              HasSubstr("/nowhere.yaml: cannot be read"));
  const std::string path = testing::TempDir() + "/access.yaml";
  std::ofstream(path) << "principals: 1\n";
  EXPECT_THAT(std::string(ReadAccessPolicy(path).status().message()), HasSubstr(path));
}

}  // namespace
}  // namespace ptychoserve::server
