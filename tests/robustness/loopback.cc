#include "tests/robustness/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace ptychoserve::robustness {
namespace {

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::abort();
}

}  // namespace

std::uint16_t PortOf(const std::string& address) {
  return static_cast<std::uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1));
}

int ConnectTo(std::uint16_t port) {
  const int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (out < 0) Fail("socket");
  if (connect(out, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    close(out);
    return -1;
  }
  const int on = 1;
  setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return out;
}

int ListenOn(std::uint16_t& port) {
  const int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  constexpr int kBacklog = 64;
  if (out < 0 || bind(out, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(out, kBacklog) != 0 ||
      getsockname(out, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Fail("listen");
  }
  port = ntohs(address.sin_port);
  return out;
}

void CloseWithReset(int socket) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(socket);
}

}  // namespace ptychoserve::robustness
