#ifndef PTYCHOSERVE_TESTS_ROBUSTNESS_LOOPBACK_H_
#define PTYCHOSERVE_TESTS_ROBUSTNESS_LOOPBACK_H_

#include <cstdint>
#include <string>

namespace ptychoserve::robustness {

// Of "127.0.0.1:PORT".
std::uint16_t PortOf(const std::string& address);
// A connected socket; -1 when nobody listens.
int ConnectTo(std::uint16_t port);
// A listening socket, which does not block, on a free port, which `port` tells.
int ListenOn(std::uint16_t& port);
// Closes the socket so that its peer is told of an error, not of an end.
void CloseWithReset(int socket);

}  // namespace ptychoserve::robustness

#endif  // PTYCHOSERVE_TESTS_ROBUSTNESS_LOOPBACK_H_
