#ifndef PTYCHOSERVE_SERVER_SECURITY_CALLER_H_
#define PTYCHOSERVE_SERVER_SECURITY_CALLER_H_

#include <string>

namespace ptychoserve::server {

// Whose sessions they are when nobody says.
inline constexpr char kDefaultTenant[] = "default";

// Each may do what those before it may.
enum class Role { kViewer, kProducer, kOperator, kAdmin };

// Whom the server takes a caller for.
struct Caller {
  std::string name;                     // Of the access file's entry; for the audit log.
  std::string tenant = kDefaultTenant;  // Whose sessions it sees.
  bool all_tenants = false;             // It could have asked for any tenant.
  bool chose_tenant = false;            // It has.
  Role role = Role::kViewer;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SECURITY_CALLER_H_
