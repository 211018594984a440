#ifndef PTYCHOSERVE_TESTS_ROBUSTNESS_TCP_RELAY_H_
#define PTYCHOSERVE_TESTS_ROBUSTNESS_TCP_RELAY_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/mutex.h"

namespace ptychoserve::robustness {

// A network between a client and a server that can be made as bad as a test wants it. Listens on a
// port of its own, and connects to the server for each client that comes. Thread-safe.
class TcpRelay {
 public:
  enum class Mode {
    kPass,
    kBlackHole,  // Connections stay, and nothing comes through: neither bytes nor their ends.
    kRefuse,     // Clients that come are reset at once. Others are served.
  };

  // `server`: "127.0.0.1:PORT".
  explicit TcpRelay(const std::string& server);
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  const std::string& address() const { return address_; }

  void Set(Mode mode);
  // Bytes leave so long after they have come.
  void Delay(std::chrono::milliseconds delay);
  // In each direction of each connection; 0: no limit.
  void Throttle(std::int64_t bytes_per_s);
  // Resets all connections, on both sides.
  void Reset();
  // Resets all connections on the client's side. The server is not told: its side stays, in
  // silence.
  void LoseClients();

  int accepted() const;  // Clients so far, those that were refused included.
  int refused() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Chunk {
    Clock::time_point due;
    std::vector<char> bytes;
    std::size_t sent = 0;
  };
  // One direction.
  struct Flow {
    int from, to;
    std::deque<Chunk> chunks;
    std::size_t held = 0;
    bool ended = false;  // No more comes; told on once the rest has gone.
    bool told = false;
    Clock::time_point next;  // With a limit: when the next chunk may go.
  };
  struct Connection {
    int client, server;  // -1 when closed.
    Flow up, down;
  };

  void Run();
  void Accept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MayRead(const Flow& flow) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // False when the connection is broken.
  bool Read(Flow& flow) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Write(Flow& flow) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Wake() const;

  int listener_ = -1;
  int wake_[2] = {-1, -1};  // A pipe: the loop reads, others write.
  std::string address_;
  std::uint16_t server_port_ = 0;

  mutable Mutex mu_;
  std::list<Connection> connections_ ABSL_GUARDED_BY(mu_);
  Mode mode_ ABSL_GUARDED_BY(mu_) = Mode::kPass;
  std::chrono::milliseconds delay_ ABSL_GUARDED_BY(mu_){0};
  std::int64_t bytes_per_s_ ABSL_GUARDED_BY(mu_) = 0;
  int accepted_ ABSL_GUARDED_BY(mu_) = 0;
  int refused_ ABSL_GUARDED_BY(mu_) = 0;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace ptychoserve::robustness

#endif  // PTYCHOSERVE_TESTS_ROBUSTNESS_TCP_RELAY_H_
