#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/command.h"
#include "client/cli/output.h"

namespace ptychoserve::cli {
namespace {

constexpr char kTokenFooter[] = R"(
The token goes to stdout, to be kept by whoever is to use it (--token-file); its entry for the
server's access file goes to stderr. The server has but the token's hash. Nothing is sent anywhere.

Examples:
  ptychoctl token detector --role producer --tenant beamline7 > detector.token
  ptychoctl token dashboard --role viewer --tenant beamline7 --expires-days 90 > viewer.token)";

constexpr std::size_t kTokenBytes = 32;

struct TokenOptions {
  std::string name;
  std::string role = "viewer";
  std::string tenant = "default";
  int expires_days = 0;
};

std::string Hex(const unsigned char* bytes, std::size_t size) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes), size});
}

absl::Status MakeToken(const Context& context, const TokenOptions& options) {
  std::array<unsigned char, kTokenBytes> secret{};
  if (RAND_bytes(secret.data(), static_cast<int>(secret.size())) != 1) {
    return absl::InternalError("the system gives no random bytes");
  }
  const std::string token = Hex(secret.data(), secret.size());
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(token.data(), token.size(), digest.data(), &size, EVP_sha256(), nullptr);
  const std::string sha256 = Hex(digest.data(), size);
  std::string expires;
  if (options.expires_days > 0) {
    expires =
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now() + absl::Hours(24) * options.expires_days,
                         absl::UTCTimeZone());
  }
  if (context.json) {
    Json out;
    out["token"] = token;
    out["name"] = options.name;
    out["tenant"] = options.tenant;
    out["role"] = options.role;
    out["sha256"] = sha256;
    if (!expires.empty()) out["expires"] = expires;
    PrintLine(out.dump());
    return absl::OkStatus();
  }
  const Json name = options.name;  // In quotes, as YAML takes it.
  const Json tenant = options.tenant;
  std::string entry = absl::StrCat("  - name: ", name.dump(), "\n    tenant: ", tenant.dump(),
                                   "\n    role: ", options.role, "\n    sha256: ", sha256, "\n");
  if (!expires.empty()) absl::StrAppend(&entry, "    expires: ", expires, "\n");
  std::fprintf(stderr, "# for the access file of the server, under 'principals:':\n%s",
               entry.c_str());
  PrintLine(token);
  return absl::OkStatus();
}

}  // namespace

void AddToken(CLI::App& app, Context& context) {
  auto options = std::make_shared<TokenOptions>();
  CLI::App* command =
      AddCommand(app, context, "token", "Make a token for the server's access file", kTokenFooter,
                 [&context, options] { return MakeToken(context, *options); });
  command->add_option("name", options->name, "Who will use it, for the audit log")->required();
  command->add_option("--role", options->role, "What it may do; each may do what those before may")
      ->check(CLI::IsMember({"viewer", "producer", "operator", "admin"}))
      ->capture_default_str();
  command->add_option("--tenant", options->tenant, "Whose sessions it sees; \"*\": those of all")
      ->check([](const std::string& tenant) {
        const bool fits =
            tenant == "*" || (!tenant.empty() && tenant.size() <= 63 &&
                              tenant.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") ==
                                  std::string::npos);
        return fits ? std::string() : "'" + tenant + "'; allowed: [a-z0-9-]{1,63}, or *";
      })
      ->capture_default_str();
  command->add_option("--expires-days", options->expires_days, "Days until it expires; 0: never")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
}

}  // namespace ptychoserve::cli
