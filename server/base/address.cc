#include "server/base/address.h"

#include <arpa/inet.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace ptychoserve::server {

absl::StatusOr<HostPort> ParseHostPort(absl::string_view address) {
  constexpr int kMaxPort = 65535;
  const auto invalid = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("'", address, "'; allowed: HOST:PORT, [IPv6]:PORT, with a port of 0..65535"));
  };
  const std::size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos) return invalid();
  absl::string_view host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ':')) {
    return invalid();  // An IPv6 address without brackets.
  }
  HostPort out{std::string(host)};
  const bool is_port = absl::SimpleAtoi(address.substr(colon + 1), &out.port) && out.port >= 0 &&
                       out.port <= kMaxPort;
  if (!is_port || out.host.empty()) return invalid();
  return out;
}

bool IsUnixAddress(absl::string_view address) { return absl::StartsWith(address, "unix:"); }

bool IsLocalAddress(absl::string_view address) {
  if (IsUnixAddress(address)) return true;
  const auto parsed = ParseHostPort(address);
  if (!parsed.ok()) return false;
  if (parsed->host == "localhost" || parsed->host == "::1") return true;
  // A name may begin with "127.", too.
  in_addr ip;
  return absl::StartsWith(parsed->host, "127.") &&
         inet_pton(AF_INET, parsed->host.c_str(), &ip) == 1;
}

}  // namespace ptychoserve::server
