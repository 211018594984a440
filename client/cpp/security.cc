#include "client/cpp/security.h"

#include <cstdlib>

namespace ptychoserve::client {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Security Security::FromEnvironment() {
  Security security;
  security.tls = Variable("PTYCHOSERVE_TLS") == "1";
  security.ca_file = Variable("PTYCHOSERVE_TLS_CA");
  security.cert_file = Variable("PTYCHOSERVE_TLS_CERT");
  security.key_file = Variable("PTYCHOSERVE_TLS_KEY");
  security.server_name = Variable("PTYCHOSERVE_TLS_SERVER_NAME");
  security.token = Variable("PTYCHOSERVE_TOKEN");
  security.token_file = Variable("PTYCHOSERVE_TOKEN_FILE");
  security.tenant = Variable("PTYCHOSERVE_TENANT");
  return security;
}

}  // namespace ptychoserve::client
