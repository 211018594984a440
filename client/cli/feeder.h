#ifndef PTYCHOSERVE_CLIENT_CLI_FEEDER_H_
#define PTYCHOSERVE_CLIENT_CLI_FEEDER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/output.h"
#include "client/cpp/client.h"
#include "engine/io/cxi.h"

namespace ptychoserve::cli {

// How a scan file is streamed.
struct FeedOptions {
  int streams = 1;
  double rate = 0;  // Frames a second; 0: as fast as the server takes them.
  std::string encoding = "raw";
  int batch = 0;               // Frames a message; 0: as many as make about 1 MiB.
  double give_up_after = 600;  // Seconds that a broken connection is tried again.
  std::string producer;        // Names the sender; empty: at random.
  std::string spool_dir;       // For what the server does not take; empty: none.
  bool spool_always = false;   // Everything is written there first.
  bool frames = true;
  bool positions = true;

  std::chrono::milliseconds GiveUpAfter() const;
};
void AddFeedFlags(CLI::App* command, FeedOptions& options);
// Errors: kInvalidArgument naming the option.
absl::Status CheckFeed(const FeedOptions& options);

// What has been sent.
struct FeedReport {
  std::int64_t frames = 0;  // Duplicates included, and those that were declared lost.
  std::int64_t known = 0;   // Frames not sent: the session had them from an earlier run.
  std::int64_t positions = 0;
  std::int64_t payload_bytes = 0;  // Of frames, encoded.
  double seconds = 0;              // From the first frame to the last acknowledgement.
};
Json ToJson(const FeedReport& report);

// Plays the detector and the stage: sends frames of a scan file, and their positions with them.
// Frame id = index in the file. Ends with kCancelled on Ctrl-C. That the session has ended is no
// error if it has the whole scan. Not thread-safe.
class Feeder {
 public:
  // Client and reader must outlive the feeder. With a spool, returns when the server has what an
  // earlier run has left there. Errors: kInvalidArgument naming the option, kCancelled, those of
  // the writers.
  static absl::StatusOr<std::unique_ptr<Feeder>> Open(client::Client& client,
                                                      const std::string& session,
                                                      CxiScanReader& scan,
                                                      const FeedOptions& options);

  // Sends these frames, round robin over the streams, and those of their positions that have not
  // been sent. Returns when they are queued.
  absl::Status Send(std::span<const std::int64_t> frame_ids);
  // Sends positions alone: of frames that the detector has lost.
  absl::Status SendPositions(std::span<const std::int64_t> frame_ids);
  // Declares frames lost.
  absl::Status Skip(std::span<const std::int64_t> frame_ids);
  // Waits until the server has dealt with all that was sent.
  absl::Status Flush();
  // Ends the streams.
  absl::Status Close();
  // What has gone out so far, whether or not the streams live.
  FeedReport report() const;

 private:
  Feeder(CxiScanReader& scan, const FeedOptions& options, Encoding encoding);
  void OpenWriters(client::Client& client, const std::string& session,
                   const client::FrameFormat& format);
  absl::Status CloseWriters();
  template <typename Writer, typename Attempt>
  absl::Status Try(Writer& writer, Attempt attempt) const;
  absl::Status SendPosition(std::int64_t id);
  absl::Status SendFrame(std::int64_t id);
  void Pace();
  std::int64_t known_frames() const;

  CxiScanReader& scan_;
  const FeedOptions options_;
  const Encoding encoding_;
  std::vector<std::unique_ptr<client::FrameWriter>> frame_writers_;
  std::unique_ptr<client::PositionWriter> position_writer_;
  std::vector<bool> position_sent_;
  std::vector<std::byte> frame_;                                      // Being sent.
  std::optional<std::chrono::steady_clock::time_point> start_, end_;  // Set by Send and Close.
  std::int64_t frames_ = 0;                                           // Handed to the writers.
};

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_FEEDER_H_
