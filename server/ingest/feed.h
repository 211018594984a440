#ifndef PTYCHOSERVE_SERVER_INGEST_FEED_H_
#define PTYCHOSERVE_SERVER_INGEST_FEED_H_

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/solver/reconstruction.h"
#include "ptychoserve/v1/ingest.pb.h"
#include "server/ingest/frame_message.h"
#include "server/journal/session_journal.h"

namespace ptychoserve::server {

// Messages of input become calls of the engine: as they come from the wire, and again as they are
// read back from the journal.
//
// Errors: kInvalidArgument for a violation of the protocol, kFailedPrecondition when the session
// has ended.

// Takes in what is left of the message, from frame number *next_frame of its batch on. False when
// the session has no space for all of it now; otherwise *next_frame is 0 again.
absl::StatusOr<bool> FeedFrames(const FrameMessage& message, Reconstruction& reconstruction,
                                int* next_frame);
absl::Status FeedPositions(const v1::StreamPositionsRequest& message,
                           Reconstruction& reconstruction);

// The ids that a message, which has been fed, accounts for. Encoder samples have none.
std::vector<ClosedRange> IdsOf(const v1::StreamFramesRequest& message);
std::vector<ClosedRange> IdsOf(const v1::StreamPositionsRequest& message);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_FEED_H_
