#ifndef PTYCHOSERVE_SERVER_PUBLISH_WATCH_SESSION_H_
#define PTYCHOSERVE_SERVER_PUBLISH_WATCH_SESSION_H_

#include <cstddef>
#include <memory>

#include "ptychoserve/v1/session.pb.h"
#include "server/publish/push_stream.h"

namespace ptychoserve::server {

// One WatchSession call. Changes of state and warnings are read from the session's own log by
// number, so none is missed however slow the reader is; progress is sent when there is time.
class WatchSessionStream final : public PushStream<v1::SessionEvent> {
 public:
  static grpc::ServerWriteReactor<v1::SessionEvent>* Start(const Call& call,
                                                           const v1::WatchSessionRequest& request);

 private:
  WatchSessionStream(const Call& call, const v1::WatchSessionRequest& request,
                     std::shared_ptr<Session> session);

  Step Next(v1::SessionEvent& event) override;
  bool NextState(v1::SessionEvent& event);
  bool NextWarning(v1::SessionEvent& event);
  bool NextQuality(v1::SessionEvent& event);
  Step NextProgress(v1::SessionEvent& event);

  const std::shared_ptr<Session> session_;
  const std::chrono::milliseconds min_interval_;

  bool begun_ = false;
  std::size_t states_ = 0;    // Changes of state that have been told.
  std::size_t warnings_ = 0;  // Warnings that have been told.
  bool told_quality_ = false;
  bool told_final_ = false;
  bool told_deleted_ = false;
  Clock::time_point next_progress_{};
  std::string last_progress_;  // Serialized, so that the same is not sent twice.
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_WATCH_SESSION_H_
