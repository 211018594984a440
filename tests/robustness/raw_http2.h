#ifndef PTYCHOSERVE_TESTS_ROBUSTNESS_RAW_HTTP2_H_
#define PTYCHOSERVE_TESTS_ROBUSTNESS_RAW_HTTP2_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "engine/base/mutex.h"

namespace ptychoserve::robustness {

// ---- What HTTP/2 (RFC 9113) sends ------------------------------------------------------------

enum class FrameType : std::uint8_t {
  kHeaders = 1,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoaway = 7,
  kContinuation = 9,
};
inline constexpr std::uint8_t kEndStream = 1, kAck = 1, kEndHeaders = 4;
inline constexpr std::uint32_t kEnhanceYourCalm = 11;

// "PRI * HTTP/2.0..."
std::string Preface();
std::string Frame(FrameType type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload = "");
// A header block, each field as a literal.
using HeaderFields = std::vector<std::pair<std::string, std::string>>;
std::string HeaderBlock(const HeaderFields& fields);
// Of a gRPC call: "/package.Service/Method".
HeaderFields CallHeaders(const std::string& path);

// ---- A peer that follows a script ------------------------------------------------------------

// A connection on which a test sends whatever bytes it wants. What comes back is read all the time,
// and told by its kind. One thread sends.
class RawConnection {
 public:
  explicit RawConnection(const std::string& address);
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  // False when the server has closed the connection.
  bool Send(std::string_view bytes);

  bool closed() const;  // By the server.
  // Whether the server closes it before the deadline.
  bool AwaitClosed() const;
  // Frames of a type that have come.
  int Received(FrameType type) const;
  bool AwaitReceived(FrameType type) const;
  // Error code of the last GOAWAY.
  std::optional<std::uint32_t> goaway() const;

 private:
  void ReadAll();

  const int socket_;
  mutable Mutex mu_;
  std::string unparsed_ ABSL_GUARDED_BY(mu_);
  std::vector<int> received_ ABSL_GUARDED_BY(mu_) = std::vector<int>(256);
  std::optional<std::uint32_t> goaway_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::thread reader_;
};

}  // namespace ptychoserve::robustness

#endif  // PTYCHOSERVE_TESTS_ROBUSTNESS_RAW_HTTP2_H_
