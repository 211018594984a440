#include "client/cpp/internal/identity.h"

#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/read_file.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::client::internal {
namespace {

absl::StatusOr<std::string> ReadIfGiven(const char* what, const std::string& path) {
  if (path.empty()) return std::string();
  auto text = ReadFile(path);
  if (!text.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", text.status().message()));
  }
  if (text->empty()) return absl::InvalidArgumentError(absl::StrCat(what, ": ", path, " is empty"));
  return text;
}

// gRPC takes anything, and then no connection comes about.
absl::StatusOr<std::string> ReadPem(const char* what, const std::string& path) {
  PS_ASSIGN_OR_RETURN(std::string text, ReadIfGiven(what, path));
  if (!path.empty() && !absl::StrContains(text, "-----BEGIN ")) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", path, " is no PEM file"));
  }
  return text;
}

// HOST:PORT, unix:PATH, or a scheme of gRPC's, as dns:///HOST:PORT.
absl::Status CheckAddress(const std::string& address) {
  if (absl::StrContains(address.substr(0, address.size() - 1), ':')) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("server: '", address, "'; allowed: HOST:PORT, or unix:PATH"));
}

// Whether nobody between here and there could listen.
bool StaysHere(absl::string_view address) {
  for (const char* local : {"unix:", "localhost:", "127.", "[::1]:"}) {
    if (absl::StartsWith(address, local)) return true;
  }
  return false;
}

// Empty when there is none any more: the server says then that one is needed.
std::string TokenOf(const Security& security) {
  if (security.token_file.empty()) return security.token;
  std::ifstream file(security.token_file);
  std::string line;
  std::getline(file, line);
  return std::string(absl::StripAsciiWhitespace(line));
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsOf(const Security& security) {
  if (!security.encrypted()) return grpc::InsecureChannelCredentials();
  if (security.cert_file.empty() != security.key_file.empty()) {
    return absl::InvalidArgumentError(
        "tls-cert, tls-key: one is given without the other; needed: both, or none");
  }
  grpc::SslCredentialsOptions options;
  PS_ASSIGN_OR_RETURN(options.pem_root_certs, ReadPem("tls-ca", security.ca_file));
  PS_ASSIGN_OR_RETURN(options.pem_cert_chain, ReadPem("tls-cert", security.cert_file));
  PS_ASSIGN_OR_RETURN(options.pem_private_key, ReadPem("tls-key", security.key_file));
  return grpc::SslCredentials(options);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Identity>> Identity::Create(const std::string& address,
                                                                 Security security) {
  PS_RETURN_IF_ERROR(CheckAddress(address));
  PS_RETURN_IF_ERROR(ReadIfGiven("token-file", security.token_file).status());
  const bool has_token = !security.token.empty() || !security.token_file.empty();
  if (has_token && !security.encrypted() && !StaysHere(address)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a token would go to ", address,
                     " for everybody to read: use --tls or --tls-ca FILE (PTYCHOSERVE_TLS=1, "
                     "PTYCHOSERVE_TLS_CA)"));
  }
  PS_ASSIGN_OR_RETURN(auto credentials, CredentialsOf(security));
  return std::shared_ptr<const Identity>(new Identity(std::move(security), std::move(credentials)));
}

void Identity::AddTo(grpc::ClientContext& context, const std::string& session) const {
  if (const std::string token = TokenOf(security_); !token.empty()) {
    context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
  }
  if (!security_.tenant.empty()) context.AddMetadata("ptychoserve-tenant", security_.tenant);
  const absl::string_view id = absl::StripPrefix(session, "sessions/");
  if (!id.empty()) context.AddMetadata("ptychoserve-session", std::string(id));
}

}  // namespace ptychoserve::client::internal
