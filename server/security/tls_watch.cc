#include "server/security/tls_watch.h"

#include <grpc/grpc_security.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

// gRPC looks at the copies as often: ten seconds in all.
constexpr std::chrono::seconds kLookInterval{5};

std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const std::string& cert,
                                                       const std::string& key,
                                                       const std::string& client_ca) {
  using namespace grpc::experimental;  // NOLINT(google-build-using-namespace): all of TLS's API.
  const auto interval = static_cast<unsigned>(kLookInterval.count());
  const bool mutual = !client_ca.empty();
  auto provider =
      mutual ? std::make_shared<FileWatcherCertificateProvider>(key, cert, client_ca, interval)
             : std::make_shared<FileWatcherCertificateProvider>(key, cert, interval);
  TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  if (mutual) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return TlsServerCredentials(options);
}

}  // namespace

MemoryFile::MemoryFile(const char* name) : fd_(memfd_create(name, MFD_CLOEXEC)) {}

MemoryFile::~MemoryFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status MemoryFile::Replace(absl::string_view content) {
  if (ftruncate(fd_, 0) == 0 &&
      pwrite(fd_, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size())) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat("a file in memory: ", std::strerror(errno)));
}

std::string MemoryFile::path() const { return absl::StrCat("/proc/self/fd/", fd_); }

absl::StatusOr<std::unique_ptr<TlsWatch>> TlsWatch::Start(const TlsFiles& files) {
  std::unique_ptr<TlsWatch> watch(new TlsWatch(files));
  PS_ASSIGN_OR_RETURN(TlsContents contents, ReadTlsFiles(files));
  PS_RETURN_IF_ERROR(watch->Take(std::move(contents)));
  watch->credentials_ = CredentialsOf(watch->cert_.path(), watch->key_.path(),
                                      files.client_ca.empty() ? "" : watch->client_ca_.path());
  watch->thread_ = std::thread([self = watch.get()] { self->Run(); });
  return watch;
}

TlsWatch::~TlsWatch() {
  {
    MutexLock lock(mu_);
    stop_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

// gRPC notices when a file changes while it reads both, and reads them again.
absl::Status TlsWatch::Take(TlsContents contents) {
  PS_RETURN_IF_ERROR(key_.Replace(contents.key));
  PS_RETURN_IF_ERROR(cert_.Replace(contents.cert));
  PS_RETURN_IF_ERROR(client_ca_.Replace(contents.client_ca));
  taken_ = std::move(contents);
  return absl::OkStatus();
}

void TlsWatch::Look() {
  auto contents = ReadTlsFiles(files_);
  absl::Status status = contents.status();
  if (status.ok() && *contents != taken_) {
    status = Take(*std::move(contents));
    if (status.ok()) Log(LogLevel::kInfo, "a new certificate is taken", {{"file", files_.cert}});
  }
  const std::string refused(status.message());
  if (!status.ok() && refused != refused_) {
    Log(LogLevel::kError, "the certificate stays as it was", {{"reason", refused}});
  }
  refused_ = refused;
}

void TlsWatch::Run() {
  while (true) {
    {
      MutexLock lock(mu_);
      if (!stop_) wake_.WaitFor(mu_, kLookInterval);
      if (stop_) return;
    }
    Look();
  }
}

}  // namespace ptychoserve::server
