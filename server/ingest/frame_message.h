#ifndef PTYCHOSERVE_SERVER_INGEST_FRAME_MESSAGE_H_
#define PTYCHOSERVE_SERVER_INGEST_FRAME_MESSAGE_H_

#include "engine/base/byte_chain.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::server {

namespace v1 = ::ptychoserve::v1;

// A StreamFramesRequest whose pixels stay where the network has put them.
struct FrameMessage {
  v1::StreamFramesRequest request;  // batch.data means nothing; see payload.
  ByteChain payload;                // What batch.data holds; empty when there is none.
};

// Parses `bytes` as the generated parser would, with the same outcome for any bytes, but without
// copying the pixels: the result's payload is a view of `bytes`, or of the result itself.
// False when they are not a StreamFramesRequest.
bool ParseFrameMessage(const ByteChain& bytes, FrameMessage* message);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_FRAME_MESSAGE_H_
