#include "tests/robustness/raw_http2.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "tests/eventually.h"
#include "tests/robustness/loopback.h"

namespace ptychoserve::robustness {
namespace {

constexpr std::size_t kFrameHeaderBytes = 9;

std::uint32_t BigEndian(std::string_view bytes) {
  std::uint32_t out = 0;
  for (const char c : bytes) out = out << 8 | static_cast<unsigned char>(c);
  return out;
}

void AppendBigEndian(std::string& out, std::uint32_t value, int bytes) {
  for (int k = bytes - 1; k >= 0; --k) out.push_back(static_cast<char>(value >> (8 * k)));
}

// RFC 7541, 5.2, without the Huffman code.
void AppendLiteral(std::string& out, std::string_view text) {
  constexpr std::size_t kPrefix = 127;
  std::size_t rest = text.size();
  if (rest < kPrefix) {
    out.push_back(static_cast<char>(rest));
  } else {
    out.push_back(static_cast<char>(kPrefix));
    for (rest -= kPrefix; rest >= 128; rest /= 128) {
      out.push_back(static_cast<char>(128 | rest % 128));
    }
    out.push_back(static_cast<char>(rest));
  }
  out.append(text);
}

}  // namespace

std::string Preface() { return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"; }

std::string Frame(FrameType type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload) {
  std::string out;
  AppendBigEndian(out, static_cast<std::uint32_t>(payload.size()), 3);
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  AppendBigEndian(out, stream, 4);
  out.append(payload);
  return out;
}

std::string HeaderBlock(const HeaderFields& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    out.push_back('\0');  // Literal without indexing, new name.
    AppendLiteral(out, name);
    AppendLiteral(out, value);
  }
  return out;
}

HeaderFields CallHeaders(const std::string& path) {
  return {{":method", "POST"},    {":scheme", "http"}, {":path", path},
          {":authority", "test"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
}

RawConnection::RawConnection(const std::string& address) : socket_(ConnectTo(PortOf(address))) {
  reader_ = std::thread([this] { ReadAll(); });
}

RawConnection::~RawConnection() {
  shutdown(socket_, SHUT_RDWR);
  reader_.join();
  close(socket_);
}

bool RawConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void RawConnection::ReadAll() {
  std::array<char, 16 << 10> buffer;
  for (;;) {
    const ssize_t n = recv(socket_, buffer.data(), buffer.size(), 0);
    MutexLock lock(mu_);
    if (n <= 0) {
      closed_ = true;
      return;
    }
    unparsed_.append(buffer.data(), static_cast<std::size_t>(n));
    std::string_view rest = unparsed_;
    while (rest.size() >= kFrameHeaderBytes) {
      const std::size_t size = kFrameHeaderBytes + BigEndian(rest.substr(0, 3));
      if (rest.size() < size) break;
      const auto type = static_cast<unsigned char>(rest[3]);
      ++received_[type];
      if (type == static_cast<unsigned char>(FrameType::kGoaway)) {
        goaway_ = BigEndian(rest.substr(kFrameHeaderBytes + 4, 4));
      }
      rest.remove_prefix(size);
    }
    unparsed_ = std::string(rest);
  }
}

bool RawConnection::closed() const {
  MutexLock lock(mu_);
  return closed_;
}

bool RawConnection::AwaitClosed() const {
  return Eventually([this] { return closed(); });
}

int RawConnection::Received(FrameType type) const {
  MutexLock lock(mu_);
  return received_[static_cast<std::size_t>(type)];
}

bool RawConnection::AwaitReceived(FrameType type) const {
  return Eventually([&] { return Received(type) > 0 || closed(); }) && Received(type) > 0;
}

std::optional<std::uint32_t> RawConnection::goaway() const {
  MutexLock lock(mu_);
  return goaway_;
}

}  // namespace ptychoserve::robustness
