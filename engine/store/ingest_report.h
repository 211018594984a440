#ifndef PTYCHOSERVE_ENGINE_STORE_INGEST_REPORT_H_
#define PTYCHOSERVE_ENGINE_STORE_INGEST_REPORT_H_

#include <array>
#include <cstdint>
#include <string>

namespace ptychoserve {

// Why a frame or a position was not taken. Nothing is dropped without one of these.
enum class Reject {
  kDuplicate,     // The id has been received before; the first one counts.
  kLate,          // After the end of data.
  kOverCapacity,  // The store is full.
  kOutOfCanvas,   // The window does not fit on the object canvas.
  kNonFinite,     // A position or a float pixel is NaN or infinite.
  kWrongShape,    // Frame height or width differ from the session's.
  kWrongType,     // The dtype differs from the session's.
  kCorrupt,       // The payload cannot be decoded or has the wrong number of bytes.
  kBadId,         // The id is below scan.first_frame_id.
};
inline constexpr int kRejectReasons = 9;

// Totals of one kind of input (frames, or positions) since the session began.
struct IngestCounters {
  std::int64_t received = 0;  // accepted + all of rejected.
  std::int64_t accepted = 0;
  std::array<std::int64_t, kRejectReasons> rejected{};           // Indexed by Reject.
  std::array<std::int64_t, kRejectReasons> first_rejected_id{};  // Valid where rejected > 0.
  std::array<std::string, kRejectReasons> first_detail;  // Of the first rejection, in words.
  std::int64_t clamped = 0;           // Positions moved into the canvas (CLAMP only).
  std::int64_t watermark = -1;        // Every id in [first_frame_id, watermark] is accounted for.
  std::int64_t untrusted_pixels = 0;  // Saturated or hot pixels masked in accepted frames.
  std::int64_t payload_bytes = 0;     // As sent.
  // Ids declared lost whose frames have not come all the same; no part of `received`.
  std::int64_t skipped = 0;

  std::int64_t total_rejected() const {
    std::int64_t sum = 0;
    for (const std::int64_t n : rejected) sum += n;
    return sum;
  }
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_STORE_INGEST_REPORT_H_
