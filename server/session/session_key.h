#ifndef PTYCHOSERVE_SERVER_SESSION_SESSION_KEY_H_
#define PTYCHOSERVE_SERVER_SESSION_SESSION_KEY_H_

#include <compare>
#include <string>

namespace ptychoserve::server {

// Which session: tenants choose their ids each for itself.
struct SessionKey {
  std::string tenant;
  std::string id;  // As in the API.

  auto operator<=>(const SessionKey&) const = default;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SESSION_SESSION_KEY_H_
