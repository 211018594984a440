#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_KNOWN_IDS_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_KNOWN_IDS_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client::internal {

// What a session has, as the first acknowledgement of a stream tells it: the ids up to known_up_to
// that are not missing.
class KnownIds {
 public:
  // Nothing.
  KnownIds() = default;
  // Nothing either when the server is too old to tell. Ranges may overlap and be in any order.
  explicit KnownIds(const v1::IngestAck& first_ack);

  // Whether the session has each of the ids first..last.
  bool Contains(std::int64_t first, std::int64_t last) const;

 private:
  struct Range {
    std::int64_t first, last;
  };
  std::int64_t up_to_ = std::numeric_limits<std::int64_t>::min();
  std::vector<Range> missing_;  // In ascending order, without overlaps.
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_KNOWN_IDS_H_
