#ifndef PTYCHOSERVE_CLIENT_CPP_CLIENT_H_
#define PTYCHOSERVE_CLIENT_CPP_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/error_details.h"
#include "client/cpp/frame_writer.h"
#include "client/cpp/position_writer.h"
#include "client/cpp/security.h"
#include "client/cpp/snapshot.h"
#include "client/cpp/watch.h"
#include "ptychoserve/v1/service.pb.h"
#include "ptychoserve/v1/session.pb.h"
#include "ptychoserve/v1/snapshot.pb.h"

namespace ptychoserve::client {

struct ClientOptions {
  Security security = Security::FromEnvironment();
  std::chrono::milliseconds connect_timeout{10'000};
  // Also how long a call is made again whose connection breaks, or whose server is away.
  std::chrono::milliseconds unary_deadline{30'000};
  // Of a whole snapshot; the time that GetSnapshot is to wait for a new one comes on top.
  std::chrono::milliseconds snapshot_deadline{120'000};
  // A connection by which nothing has come for so long is probed, and given up when nothing comes
  // for the timeout after that. The server turns away who probes an idle connection more often than
  // every 15 s.
  std::chrono::milliseconds keepalive_time{30'000};
  std::chrono::milliseconds keepalive_timeout{20'000};
  // How long a watch is opened again whose server is away. 0: it ends with the connection.
  std::chrono::milliseconds watch_give_up_after{600'000};
};

// "sessions/{id}" of either form.
std::string SessionName(const std::string& id_or_name);

// What an exported file leaves out.
struct ExportOptions {
  bool input = true;  // What has come in.
  bool run = true;    // Where the run is: object, probe, exit waves.
};

// A connection to a ptychoserved. Sessions are named by id or by full name. Errors are those that
// the proto files state, with details (see GetErrorDetails). Thread-safe.
class Client {
 public:
  // Connects to "host:port" or "unix:/path". Errors: kUnavailable, naming the address;
  // kInvalidArgument for options.security.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& address,
                                                         const ClientOptions& options = {});
  ~Client();

  // An empty id: the server makes one.
  absl::StatusOr<v1::Session> CreateSession(const std::string& session_id,
                                            const v1::SessionConfig& config,
                                            bool validate_only = false);
  absl::StatusOr<v1::Session> GetSession(const std::string& session);
  // All of them, page after page, ordered by name.
  absl::StatusOr<std::vector<v1::Session>> ListSessions();
  // `paths` as in UpdateSessionRequest.update_mask, values from `config`.
  absl::StatusOr<v1::Session> UpdateSession(const std::string& session,
                                            const v1::SessionConfig& config,
                                            const std::vector<std::string>& paths);
  absl::Status DeleteSession(const std::string& session, bool force = false);
  absl::StatusOr<v1::Session> FinishScan(const std::string& session);
  // Which way the frames lie, as soon as the session has enough of them and the test is done: parts
  // of a second on a GPU, up to minutes on a CPU. See docs/geometry.md.
  absl::StatusOr<v1::OrientationTest> TestOrientation(
      const std::string& session, std::chrono::milliseconds timeout = std::chrono::minutes(10));
  absl::StatusOr<v1::Session> StopSession(const std::string& session,
                                          v1::StopSessionRequest::Mode mode);
  absl::StatusOr<v1::ServerInfo> GetServerInfo();

  // The newest snapshot. header.unchanged, without arrays, when none is newer than
  // `not_newer_than` after `wait`.
  absl::StatusOr<Snapshot> GetSnapshot(
      const std::string& session, const v1::SnapshotSelection& selection,
      std::int64_t not_newer_than = 0,
      std::chrono::milliseconds wait = std::chrono::milliseconds(0));

  // A frame as the session has it: of that id, or the one that has got to the device last; with
  // what the newest snapshot expects of it, if that is wanted and it shows the frame.
  absl::StatusOr<FrameView> GetFrame(const std::string& session,
                                     std::optional<std::int64_t> frame_id = std::nullopt,
                                     bool expected = false);

  // Calls `on_event` for each event and then `on_done` once, on threads of the library, one call
  // at a time. Destroying the Watch cancels it and waits for a call under way: not from within one.
  // When the connection breaks or the server goes away, `on_break` is told why, and the watch goes
  // on as soon as there is a server again, which begins with how things are then.
  std::unique_ptr<Watch> WatchSession(const std::string& session,
                                      std::chrono::milliseconds min_interval,
                                      std::function<void(const v1::SessionEvent&)> on_event,
                                      std::function<void(const absl::Status&)> on_done,
                                      std::function<void(const absl::Status&)> on_break = {});
  std::unique_ptr<Watch> WatchSnapshots(const std::string& session,
                                        const v1::SnapshotSelection& selection,
                                        std::chrono::milliseconds min_interval,
                                        std::function<void(Snapshot)> on_snapshot,
                                        std::function<void(const absl::Status&)> on_done,
                                        std::function<void(const absl::Status&)> on_break = {});

  // The session as a file, whose parts are given to `take` one after the other, while it goes on.
  // Errors: also those of `take`, which end it.
  absl::Status ExportState(const std::string& session, const ExportOptions& options,
                           const std::function<absl::Status(std::string_view)>& take);
  // A new session from such a file: `next` gives its parts, at most kImportPartBytes each, and
  // nothing at the end. Errors: also those of `next`.
  absl::StatusOr<v1::Session> ImportState(const v1::ImportStart& start,
                                          const std::function<absl::StatusOr<std::string>()>& next);
  static constexpr std::size_t kImportPartBytes = 1 << 20;

  // Opens a stream on a connection of its own, so that several writers share the load. Returns at
  // once; an error comes with the first use.
  std::unique_ptr<FrameWriter> OpenFrameWriter(const std::string& session,
                                               const FrameFormat& format,
                                               WriterOptions options = {});
  std::unique_ptr<PositionWriter> OpenPositionWriter(const std::string& session,
                                                     WriterOptions options = {});

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_CLIENT_H_
