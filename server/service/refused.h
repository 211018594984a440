#ifndef PTYCHOSERVE_SERVER_SERVICE_REFUSED_H_
#define PTYCHOSERVE_SERVER_SERVICE_REFUSED_H_

#include "absl/status/status.h"
#include "server/service/errors.h"

namespace ptychoserve::server {

// A call that is refused before it has begun: a reactor of any kind that finishes at once.
template <class Reactor>
class Refused final : public Reactor {
 public:
  explicit Refused(const absl::Status& status) { this->Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_REFUSED_H_
