#include <memory>
#include <utility>

#include "engine/base/mutex.h"
#include "server/service/convert.h"
#include "server/service/enums.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"

namespace ptychoserve::server {
namespace {

// Answers when the session has done its test, or when the caller has gone, whichever comes first:
// a session may never get there. Does not keep the session, which keeps this until it answers.
class OrientationCall final : public grpc::ServerUnaryReactor {
 public:
  OrientationCall(const std::shared_ptr<Session>& session, v1::OrientationTest* response)
      : session_(session), response_(response) {}

  // Owned by gRPC and by the session, each until it has done with it.
  static grpc::ServerUnaryReactor* Launch(Session& session, std::shared_ptr<OrientationCall> call) {
    call->self_ = call;
    session.reconstruction().TestOrientation(
        [call](const absl::StatusOr<OrientationRanking>& found) { call->Answer(found); });
    return call.get();
  }

  void OnCancel() override {
    if (First()) Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { self_.reset(); }

 private:
  void Answer(const absl::StatusOr<OrientationRanking>& found) {
    if (!First()) return;
    if (found.ok()) {
      *response_ = OrientationToProto(*found);
      return Finish(grpc::Status::OK);
    }
    const std::shared_ptr<Session> session = session_.lock();
    const bool ended = session != nullptr && IsFinal(session->state());
    Finish(ToGrpcStatus(ended ? SessionEnded(session->name(), StateName(session->state()))
                              : found.status()));
  }
  // Whether the call has not been finished yet, and is to be now.
  bool First() {
    MutexLock lock(mu_);
    return !std::exchange(finished_, true);
  }

  const std::weak_ptr<Session> session_;
  v1::OrientationTest* const response_;
  std::shared_ptr<OrientationCall> self_;
  Mutex mu_;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* HandleTestOrientation(const Call& call,
                                                const v1::TestOrientationRequest* request,
                                                v1::OrientationTest* response) {
  const auto session = call.Find(request->name());
  if (!session.ok()) {
    grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
    reactor->Finish(ToGrpcStatus(session.status()));
    return reactor;
  }
  return OrientationCall::Launch(**session, std::make_shared<OrientationCall>(*session, response));
}

}  // namespace ptychoserve::server
