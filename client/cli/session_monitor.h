#ifndef PTYCHOSERVE_CLIENT_CLI_SESSION_MONITOR_H_
#define PTYCHOSERVE_CLIENT_CLI_SESSION_MONITOR_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "client/cpp/client.h"
#include "engine/base/mutex.h"
#include "ptychoserve/v1/session.pb.h"

namespace ptychoserve::cli {

// Knows the newest state of a session, by WatchSession or by polling GetSession, also of a server
// that goes away and comes back, and draws the progress line on stderr: in place on a terminal,
// else a line every few seconds. Thread-safe.
class SessionMonitor {
 public:
  struct Options {
    std::chrono::milliseconds poll{0};  // Poll that often instead of watching.
    bool show_progress = true;
    std::int64_t expected_frames = 0;  // For the bar.
    std::int64_t it_ends_after = 0;
  };
  // The client must outlive the monitor.
  SessionMonitor(client::Client& client, const v1::Session& session, const Options& options);
  ~SessionMonitor();

  // The newest state, without config.
  v1::Session latest() const;
  // Asks the server for it.
  absl::StatusOr<v1::Session> Refresh();
  // Waits until `done` holds. Errors: kCancelled on Ctrl-C; what ended the watch.
  absl::Status WaitFor(const std::function<bool(const v1::Session&)>& done);
  // Ends the progress line.
  void StopProgress();

 private:
  void Update(const v1::Session& session);
  void SayBroken(const absl::Status& status);
  void Loop();
  void Draw(bool last);

  client::Client& client_;
  const std::string name_;
  const Options options_;
  const bool terminal_;
  mutable Mutex mu_;
  CondVar cv_;
  v1::Session latest_ ABSL_GUARDED_BY(mu_);
  absl::Status watch_status_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool drawing_ ABSL_GUARDED_BY(mu_) = true;
  std::string last_line_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<client::Watch> watch_;
  std::thread thread_;
};

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_SESSION_MONITOR_H_
