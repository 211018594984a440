#include "client/cli/side_by_side.h"

#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/feeder.h"
#include "client/cli/interrupt.h"
#include "client/cli/progress_line.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

constexpr std::chrono::milliseconds kPoll{100};

class SideBySide {
 public:
  SideBySide(client::Client& client, CxiScanReader& scan, std::span<const std::int64_t> frames,
             const std::vector<v1::SessionConfig>& configs, std::string id_prefix)
      : client_(client),
        scan_(scan),
        frames_(frames),
        configs_(configs),
        id_prefix_(std::move(id_prefix)),
        ended_(configs.size()) {}

  ~SideBySide() {
    for (const Running& r : running_) client_.DeleteSession(r.id, /*force=*/true).IgnoreError();
  }

  absl::Status Run(const std::function<void(const std::vector<v1::Session>&)>& on_progress) {
    while (next_ < configs_.size() || !running_.empty()) {
      if (Interrupted()) return absl::CancelledError("interrupted");
      PS_RETURN_IF_ERROR(BeginWhatThereIsRoomFor());
      PS_ASSIGN_OR_RETURN(const std::vector<v1::Session> under_way, Poll());
      on_progress(under_way);
      std::this_thread::sleep_for(kPoll);
    }
    return absl::OkStatus();
  }

  std::vector<v1::Session> Take() { return std::move(ended_); }

 private:
  struct Running {
    std::size_t number = 0;
    std::string id;
  };

  absl::Status BeginWhatThereIsRoomFor() {
    for (; next_ < configs_.size() && room_; ++next_) {
      const std::string id = absl::StrCat(id_prefix_, "-", next_);
      running_.push_back({next_, id});  // First, so that it is deleted whatever happens.
      const absl::Status created = client_.CreateSession(id, configs_[next_]).status();
      if (absl::IsResourceExhausted(created) && running_.size() > 1) {
        running_.pop_back();
        room_ = false;
        return absl::OkStatus();
      }
      PS_RETURN_IF_ERROR(created);
      PS_ASSIGN_OR_RETURN(const std::unique_ptr<Feeder> feeder,
                          Feeder::Open(client_, id, scan_, FeedOptions()));
      PS_RETURN_IF_ERROR(feeder->Send(frames_));
      PS_RETURN_IF_ERROR(feeder->Close());
      PS_RETURN_IF_ERROR(client_.FinishScan(id).status());
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<v1::Session>> Poll() {
    std::vector<v1::Session> under_way;
    std::vector<Running> still;
    for (const Running& r : std::vector<Running>(running_)) {
      PS_ASSIGN_OR_RETURN(v1::Session session, client_.GetSession(r.id));
      if (!IsFinal(session.state())) {
        under_way.push_back(std::move(session));
        still.push_back(r);
        continue;
      }
      ended_[r.number] = std::move(session);
      PS_RETURN_IF_ERROR(client_.DeleteSession(r.id, /*force=*/true));
      room_ = true;
    }
    running_ = std::move(still);
    return under_way;
  }

  client::Client& client_;
  CxiScanReader& scan_;
  const std::span<const std::int64_t> frames_;
  const std::vector<v1::SessionConfig>& configs_;
  const std::string id_prefix_;
  std::vector<v1::Session> ended_;
  std::vector<Running> running_;
  std::size_t next_ = 0;
  bool room_ = true;
};

}  // namespace

absl::StatusOr<std::vector<v1::Session>> RunSideBySide(
    client::Client& client, CxiScanReader& scan, std::span<const std::int64_t> frames,
    const std::vector<v1::SessionConfig>& configs, const std::string& id_prefix,
    const std::function<void(const std::vector<v1::Session>&)>& on_progress) {
  SideBySide run(client, scan, frames, configs, id_prefix);
  PS_RETURN_IF_ERROR(run.Run(on_progress));
  return run.Take();
}

}  // namespace ptychoserve::cli
