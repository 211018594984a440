#include "server/security/server_credentials.h"

#include <grpc/grpc_security.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::server {
namespace {

constexpr unsigned kLookIntervalS = 10;

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* p) const {
    kFree(p);
  }
};
using File = std::unique_ptr<std::FILE, Free<std::fclose>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

absl::Status Invalid(const char* option, const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--", option, " ", path, ": ", what));
}

absl::StatusOr<File> OpenFile(const char* option, const std::string& path) {
  File file(std::fopen(path.c_str(), "re"));
  if (file == nullptr) {
    return Invalid(option, path, absl::StrCat("cannot be read: ", std::strerror(errno)));
  }
  return file;
}

absl::StatusOr<Certificate> ReadCertificate(const char* option, const std::string& path) {
  PS_ASSIGN_OR_RETURN(const File file, OpenFile(option, path));
  Certificate certificate(PEM_read_X509(file.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) return Invalid(option, path, "holds no PEM certificate");
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) {
    return Invalid(option, path, "has expired");
  }
  if (X509_cmp_current_time(X509_get0_notBefore(certificate.get())) > 0) {
    return Invalid(option, path, "is not valid yet; is the clock right?");
  }
  return certificate;
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  if (files.cert.empty() != files.key.empty()) {
    return absl::InvalidArgumentError("--tls-cert, --tls-key: needed: both, or none");
  }
  if (!files.enabled()) {
    if (files.client_ca.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("--tls-client-ca: needs --tls-cert and --tls-key as well");
  }
  PS_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate("tls-cert", files.cert));
  PS_ASSIGN_OR_RETURN(const File file, OpenFile("tls-key", files.key));
  const Key key(PEM_read_PrivateKey(file.get(), nullptr, nullptr, nullptr));
  if (key == nullptr) return Invalid("tls-key", files.key, "holds no PEM private key");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Invalid("tls-key", files.key, "is not the key of the certificate in --tls-cert");
  }
  if (files.client_ca.empty()) return absl::OkStatus();
  return ReadCertificate("tls-client-ca", files.client_ca).status();
}

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsFiles& files) {
  using namespace grpc::experimental;  // NOLINT(google-build-using-namespace): all of TLS's API.
  if (!files.enabled()) return grpc::InsecureServerCredentials();
  const bool mutual = !files.client_ca.empty();
  auto provider = mutual ? std::make_shared<FileWatcherCertificateProvider>(
                               files.key, files.cert, files.client_ca, kLookIntervalS)
                         : std::make_shared<FileWatcherCertificateProvider>(files.key, files.cert,
                                                                            kLookIntervalS);
  TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  if (mutual) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return TlsServerCredentials(options);
}

}  // namespace ptychoserve::server
