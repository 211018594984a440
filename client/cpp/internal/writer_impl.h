#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_WRITER_IMPL_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_WRITER_IMPL_H_

#include <memory>

#include "client/cpp/frame_writer.h"
#include "client/cpp/internal/batching.h"
#include "client/cpp/internal/frame_pool.h"
#include "client/cpp/internal/ingest_writer.h"
#include "client/cpp/position_writer.h"

namespace ptychoserve::client {

struct FrameWriter::Impl {
  FrameFormat format;
  std::shared_ptr<internal::FramePool> pool;
  std::shared_ptr<internal::IngestWriter<internal::FrameBatching>> writer;
};

struct PositionWriter::Impl {
  std::shared_ptr<internal::IngestWriter<internal::PositionBatching>> writer;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_WRITER_IMPL_H_
