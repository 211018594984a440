#ifndef PTYCHOSERVE_CLIENT_CPP_FRAME_FORMAT_H_
#define PTYCHOSERVE_CLIENT_CPP_FRAME_FORMAT_H_

#include <cstddef>
#include <cstdint>

#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client {

// What the frames of a writer look like; the session's dtype and frame_shape.
struct FrameFormat {
  v1::DataType dtype = v1::DATA_TYPE_U16;
  std::uint32_t rows = 0;
  std::uint32_t cols = 0;
  v1::Encoding encoding = v1::ENCODING_RAW;

  // Bytes of a frame before encoding; 0 for an unknown dtype.
  std::size_t raw_bytes() const;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_FRAME_FORMAT_H_
