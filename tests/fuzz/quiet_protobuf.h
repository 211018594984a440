#ifndef PTYCHOSERVE_TESTS_FUZZ_QUIET_PROTOBUF_H_
#define PTYCHOSERVE_TESTS_FUZZ_QUIET_PROTOBUF_H_

#include <google/protobuf/stubs/logging.h>

namespace ptychoserve {

// Keeps protobuf from saying of each input what is wrong with it.
inline void QuietProtobuf() {
  static const auto before = google::protobuf::SetLogHandler(nullptr);
  static_cast<void>(before);
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_FUZZ_QUIET_PROTOBUF_H_
