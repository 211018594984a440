#ifndef PTYCHOSERVE_SERVER_SECURITY_SERVER_CREDENTIALS_H_
#define PTYCHOSERVE_SERVER_SECURITY_SERVER_CREDENTIALS_H_

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace ptychoserve::server {

// PEM files. Empty `cert`: no TLS.
struct TlsFiles {
  std::string cert;       // The server's certificate, with those of whoever signed it.
  std::string key;        // Its private key.
  std::string client_ca;  // Clients must show a certificate signed by it; empty: they need none.

  bool enabled() const { return !cert.empty(); }
};

// Errors: kInvalidArgument, naming the file and what is wrong with it: unreadable, no PEM, expired,
// a key that is not the certificate's.
absl::Status CheckTlsFiles(const TlsFiles& files);

// Credentials of an address that speaks TLS, or not. The files are looked at every 10 s, and taken
// when they have changed; connections keep what they have begun with.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsFiles& files);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SECURITY_SERVER_CREDENTIALS_H_
