#include "server/security/tls_files.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/read_file.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::server {
namespace {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* p) const {
    kFree(p);
  }
};
using Bytes = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

absl::Status Invalid(const char* option, const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--", option, " ", path, ": ", what));
}

absl::StatusOr<std::string> ReadPem(const char* option, const std::string& path) {
  auto text = ReadFile(path);
  if (text.ok()) return text;
  return absl::InvalidArgumentError(absl::StrCat("--", option, " ", text.status().message()));
}

Bytes BytesOf(const std::string& pem) {
  return Bytes(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

absl::StatusOr<Certificate> CertificateOf(const char* option, const std::string& path,
                                          const std::string& pem) {
  Certificate certificate(PEM_read_bio_X509(BytesOf(pem).get(), nullptr, nullptr, nullptr));
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

absl::StatusOr<TlsContents> ReadTlsFiles(const TlsFiles& files) {
  TlsContents contents;
  PS_ASSIGN_OR_RETURN(contents.cert, ReadPem("tls-cert", files.cert));
  PS_ASSIGN_OR_RETURN(contents.key, ReadPem("tls-key", files.key));
  PS_ASSIGN_OR_RETURN(const Certificate certificate,
                      CertificateOf("tls-cert", files.cert, contents.cert));
  const Key key(PEM_read_bio_PrivateKey(BytesOf(contents.key).get(), nullptr, nullptr, nullptr));
  if (key == nullptr) return Invalid("tls-key", files.key, "holds no PEM private key");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Invalid("tls-key", files.key, "is not the key of the certificate in --tls-cert");
  }
  if (files.client_ca.empty()) return contents;
  PS_ASSIGN_OR_RETURN(contents.client_ca, ReadPem("tls-client-ca", files.client_ca));
  PS_RETURN_IF_ERROR(CertificateOf("tls-client-ca", files.client_ca, contents.client_ca).status());
  return contents;
}

absl::Status CheckTlsFiles(const TlsFiles& files) {
  if (files.cert.empty() != files.key.empty()) {
    return absl::InvalidArgumentError("--tls-cert, --tls-key: needed: both, or none");
  }
  if (files.enabled()) return ReadTlsFiles(files).status();
  if (files.client_ca.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("--tls-client-ca: needs --tls-cert and --tls-key as well");
}

}  // namespace ptychoserve::server
