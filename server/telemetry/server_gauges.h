#ifndef PTYCHOSERVE_SERVER_TELEMETRY_SERVER_GAUGES_H_
#define PTYCHOSERVE_SERVER_TELEMETRY_SERVER_GAUGES_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "server/service/core.h"

namespace ptychoserve::server {

// How things are at the moment that Prometheus asks. Thread-safe. `core` outlives it.
class ServerGauges final : public prometheus::Collectable {
 public:
  explicit ServerGauges(const Core& core) : core_(core) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Core& core_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_TELEMETRY_SERVER_GAUGES_H_
