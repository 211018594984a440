#ifndef PTYCHOSERVE_SERVER_SECURITY_TLS_FILES_H_
#define PTYCHOSERVE_SERVER_SECURITY_TLS_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ptychoserve::server {

// PEM files. Empty `cert`: no TLS.
struct TlsFiles {
  std::string cert;       // The server's certificate, with those of whoever signed it.
  std::string key;        // Its private key.
  std::string client_ca;  // Clients must show a certificate signed by it; empty: they need none.

  bool enabled() const { return !cert.empty(); }
};

// What is in the files.
struct TlsContents {
  std::string cert, key, client_ca;

  bool operator==(const TlsContents&) const = default;
};

// Files that can serve as they are. Errors: kInvalidArgument, naming the file and what is wrong
// with it: unreadable, no PEM, expired, a key that is not the certificate's.
absl::StatusOr<TlsContents> ReadTlsFiles(const TlsFiles& files);

// As ReadTlsFiles, and that those are given together which belong together.
absl::Status CheckTlsFiles(const TlsFiles& files);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SECURITY_TLS_FILES_H_
