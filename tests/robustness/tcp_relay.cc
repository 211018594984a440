#include "tests/robustness/tcp_relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/robustness/loopback.h"

namespace ptychoserve::robustness {
namespace {

constexpr std::size_t kChunkBytes = 16 << 10;
constexpr std::size_t kHeldBytes = 256 << 10;  // Of one direction; then it is not read on.

}  // namespace

TcpRelay::TcpRelay(const std::string& server) : server_port_(PortOf(server)) {
  std::uint16_t port = 0;
  listener_ = ListenOn(port);
  address_ = absl::StrCat("127.0.0.1:", port);
  if (pipe2(wake_, O_CLOEXEC | O_NONBLOCK) != 0) std::abort();
  thread_ = std::thread([this] { Run(); });
}

TcpRelay::~TcpRelay() {
  {
    MutexLock lock(mu_);
    ending_ = true;
  }
  Wake();
  thread_.join();
  Reset();
  close(listener_);
  close(wake_[0]);
  close(wake_[1]);
}

void TcpRelay::Wake() const {
  const char byte = 0;
  // A pipe that is full wakes the loop as well.
  [[maybe_unused]] const auto ignored = write(wake_[1], &byte, 1);
}

void TcpRelay::Set(Mode mode) {
  MutexLock lock(mu_);
  mode_ = mode;
  Wake();
}

void TcpRelay::Delay(std::chrono::milliseconds delay) {
  MutexLock lock(mu_);
  delay_ = delay;
}

void TcpRelay::Throttle(std::int64_t bytes_per_s) {
  MutexLock lock(mu_);
  bytes_per_s_ = bytes_per_s;
  Wake();
}

void TcpRelay::Reset() {
  MutexLock lock(mu_);
  for (Connection& c : connections_) {
    if (c.client >= 0) CloseWithReset(c.client);
    CloseWithReset(c.server);
  }
  connections_.clear();
  Wake();
}

void TcpRelay::LoseClients() {
  MutexLock lock(mu_);
  for (Connection& c : connections_) {
    if (c.client >= 0) CloseWithReset(c.client);
    c.client = -1;
  }
  Wake();
}

int TcpRelay::accepted() const {
  MutexLock lock(mu_);
  return accepted_;
}

int TcpRelay::refused() const {
  MutexLock lock(mu_);
  return refused_;
}

void TcpRelay::Accept() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  ++accepted_;
  if (mode_ == Mode::kRefuse) {
    ++refused_;
    CloseWithReset(client);
    return;
  }
  const int server = ConnectTo(server_port_);
  if (server < 0) return CloseWithReset(client);
  connections_.push_back({.client = client,
                          .server = server,
                          .up = {.from = client, .to = server},
                          .down = {.from = server, .to = client}});
}

bool TcpRelay::MayRead(const Flow& flow) const {
  return mode_ != Mode::kBlackHole && !flow.ended && flow.held < kHeldBytes;
}

bool TcpRelay::Read(Flow& flow) {
  std::vector<char> bytes(kChunkBytes);
  const ssize_t n = recv(flow.from, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) {
    flow.ended = true;
    return true;
  }
  bytes.resize(static_cast<std::size_t>(n));
  flow.held += bytes.size();
  flow.chunks.push_back({.due = Clock::now() + delay_, .bytes = std::move(bytes)});
  return true;
}

bool TcpRelay::Write(Flow& flow) {
  while (!flow.chunks.empty()) {
    Chunk& chunk = flow.chunks.front();
    const auto now = Clock::now();
    if (now < std::max(chunk.due, flow.next)) return true;
    const ssize_t n = send(flow.to, chunk.bytes.data() + chunk.sent,
                           chunk.bytes.size() - chunk.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (bytes_per_s_ > 0) {
      flow.next = now + std::chrono::microseconds(1'000'000 * n / bytes_per_s_);
    }
    chunk.sent += static_cast<std::size_t>(n);
    flow.held -= static_cast<std::size_t>(n);
    if (chunk.sent == chunk.bytes.size()) flow.chunks.pop_front();
  }
  if (flow.ended && !std::exchange(flow.told, true)) shutdown(flow.to, SHUT_WR);
  return true;
}

void TcpRelay::Run() {
  for (;;) {
    std::vector<pollfd> polled = {{listener_, POLLIN, 0}, {wake_[0], POLLIN, 0}};
    auto wake = Clock::now() + std::chrono::hours(1);
    {
      MutexLock lock(mu_);
      if (ending_) return;
      for (Connection& c : connections_) {
        if (c.client < 0 || mode_ == Mode::kBlackHole) continue;
        for (const auto& [in, out] : {std::pair{&c.up, &c.down}, {&c.down, &c.up}}) {
          // `in` comes from this socket, `out` goes to it.
          short events = MayRead(*in) ? POLLIN : 0;
          if (!out->chunks.empty()) {
            const auto due = std::max(out->chunks.front().due, out->next);
            if (due <= Clock::now()) {
              events |= POLLOUT;
            } else {
              wake = std::min(wake, due);
            }
          }
          // Without an event to wait for, poll would still report that the peer has gone.
          polled.push_back({events != 0 ? in->from : -1, events, 0});
        }
      }
    }
    const auto rest = std::chrono::ceil<std::chrono::milliseconds>(wake - Clock::now());
    poll(polled.data(), polled.size(), static_cast<int>(std::max<std::int64_t>(0, rest.count())));
    char drained[64];
    while (read(wake_[0], drained, sizeof(drained)) > 0) {
    }
    MutexLock lock(mu_);
    if (ending_) return;
    if ((polled[0].revents & POLLIN) != 0) Accept();
    if (mode_ == Mode::kBlackHole) continue;
    for (auto c = connections_.begin(); c != connections_.end();) {
      if (c->client < 0) {
        ++c;
        continue;
      }
      bool alive = true;
      for (Flow* flow : {&c->up, &c->down}) {
        alive = alive && (!MayRead(*flow) || Read(*flow)) && Write(*flow);
      }
      if (alive && !(c->up.told && c->down.told)) {
        ++c;
        continue;
      }
      // What one side is told, the other is told, too.
      if (alive) {
        close(c->client);
        close(c->server);
      } else {
        CloseWithReset(c->client);
        CloseWithReset(c->server);
      }
      c = connections_.erase(c);
    }
  }
}

}  // namespace ptychoserve::robustness
