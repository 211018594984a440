#ifndef PTYCHOSERVE_CLIENT_CPP_SECURITY_H_
#define PTYCHOSERVE_CLIENT_CPP_SECURITY_H_

#include <string>

namespace ptychoserve::client {

// How a client speaks to a server, and as whom. Files are PEM, but for the token's.
struct Security {
  bool tls = false;         // With the system's certificates, unless ca_file says otherwise.
  std::string ca_file;      // Whose signature a server's certificate must have. Implies tls.
  std::string cert_file;    // The client's own certificate, and its key, where the server wants to
  std::string key_file;     // see one. Both or none. Imply tls.
  std::string server_name;  // In the server's certificate, where it is not the address's.
  std::string token;        // Shown with each call; empty: none.
  std::string token_file;   // Its first line, in the place of `token`; read again for each call.
  std::string tenant;       // Whose sessions, for callers who may see those of several.

  bool encrypted() const { return tls || !ca_file.empty() || !cert_file.empty(); }

  // What PTYCHOSERVE_TLS (1), PTYCHOSERVE_TLS_CA, PTYCHOSERVE_TLS_CERT, PTYCHOSERVE_TLS_KEY,
  // PTYCHOSERVE_TLS_SERVER_NAME, PTYCHOSERVE_TOKEN, PTYCHOSERVE_TOKEN_FILE and PTYCHOSERVE_TENANT
  // say.
  static Security FromEnvironment();
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_SECURITY_H_
