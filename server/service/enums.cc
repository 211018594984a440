#include "server/service/enums.h"

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace ptychoserve::server {

std::optional<DataType> FromProto(v1::DataType value) {
  switch (value) {
    case v1::DATA_TYPE_U8:
      return DataType::kU8;
    case v1::DATA_TYPE_U16:
      return DataType::kU16;
    case v1::DATA_TYPE_U32:
      return DataType::kU32;
    case v1::DATA_TYPE_F32:
      return DataType::kF32;
    default:
      return std::nullopt;
  }
}

std::optional<Orientation> FromProto(v1::Orientation value) {
  switch (value) {
    case v1::ORIENTATION_UNSPECIFIED:
    case v1::ORIENTATION_IDENTITY:
      return Orientation::kIdentity;
    case v1::ORIENTATION_FLIP_LR:
      return Orientation::kFlipLr;
    case v1::ORIENTATION_FLIP_UD:
      return Orientation::kFlipUd;
    case v1::ORIENTATION_ROT180:
      return Orientation::kRot180;
    case v1::ORIENTATION_TRANSPOSE:
      return Orientation::kTranspose;
    case v1::ORIENTATION_ROT90_CCW:
      return Orientation::kRot90Ccw;
    case v1::ORIENTATION_ROT90_CW:
      return Orientation::kRot90Cw;
    case v1::ORIENTATION_ANTITRANSPOSE:
      return Orientation::kAntiTranspose;
    default:
      return std::nullopt;
  }
}

std::optional<OverCapacity> FromProto(v1::OverCapacity value) {
  switch (value) {
    case v1::OVER_CAPACITY_UNSPECIFIED:
    case v1::OVER_CAPACITY_REJECT:
      return OverCapacity::kReject;
    case v1::OVER_CAPACITY_END_SCAN:
      return OverCapacity::kEndScan;
    default:
      return std::nullopt;
  }
}

std::optional<OutOfCanvas> FromProto(v1::OutOfCanvas value) {
  switch (value) {
    case v1::OUT_OF_CANVAS_UNSPECIFIED:
    case v1::OUT_OF_CANVAS_REJECT:
      return OutOfCanvas::kReject;
    case v1::OUT_OF_CANVAS_CLAMP:
      return OutOfCanvas::kClamp;
    default:
      return std::nullopt;
  }
}

std::optional<ScheduleClock> FromProto(v1::ScheduleClock value) {
  switch (value) {
    case v1::SCHEDULE_CLOCK_UNSPECIFIED:
    case v1::SCHEDULE_CLOCK_AFTER_END_OF_DATA:
      return ScheduleClock::kAfterEndOfData;
    case v1::SCHEDULE_CLOCK_FROM_START:
      return ScheduleClock::kFromStart;
    default:
      return std::nullopt;
  }
}

std::optional<Likelihood> FromProto(v1::Likelihood value) {
  switch (value) {
    case v1::LIKELIHOOD_UNSPECIFIED:
    case v1::LIKELIHOOD_POISSON:
      return Likelihood::kPoisson;
    case v1::LIKELIHOOD_GAUSSIAN:
      return Likelihood::kGaussian;
    default:
      return std::nullopt;
  }
}

std::optional<BatchKind> FromProto(v1::BatchKind value) {
  switch (value) {
    case v1::BATCH_KIND_UNSPECIFIED:
    case v1::BATCH_KIND_SPARSE:
      return BatchKind::kSparse;
    case v1::BATCH_KIND_COMPACT:
      return BatchKind::kCompact;
    default:
      return std::nullopt;
  }
}

std::optional<Encoding> FromProto(v1::Encoding value) {
  switch (value) {
    case v1::ENCODING_UNSPECIFIED:
    case v1::ENCODING_RAW:
      return Encoding::kRaw;
    case v1::ENCODING_LZ4:
      return Encoding::kLz4;
    case v1::ENCODING_BSLZ4:
      return Encoding::kBslz4;
    default:
      return std::nullopt;
  }
}

std::optional<bool> BeamAtCorner(v1::BeamPosition value) {
  switch (value) {
    case v1::BEAM_POSITION_UNSPECIFIED:
    case v1::BEAM_POSITION_CENTRE:
      return false;
    case v1::BEAM_POSITION_CORNER:
      return true;
    default:
      return std::nullopt;
  }
}

v1::DataType ToProto(DataType value) {
  switch (value) {
    case DataType::kU8:
      return v1::DATA_TYPE_U8;
    case DataType::kU16:
      return v1::DATA_TYPE_U16;
    case DataType::kU32:
      return v1::DATA_TYPE_U32;
    case DataType::kF32:
      return v1::DATA_TYPE_F32;
  }
  return v1::DATA_TYPE_UNSPECIFIED;
}

v1::Orientation ToProto(Orientation value) {
  switch (value) {
    case Orientation::kIdentity:
      return v1::ORIENTATION_IDENTITY;
    case Orientation::kFlipLr:
      return v1::ORIENTATION_FLIP_LR;
    case Orientation::kFlipUd:
      return v1::ORIENTATION_FLIP_UD;
    case Orientation::kRot180:
      return v1::ORIENTATION_ROT180;
    case Orientation::kTranspose:
      return v1::ORIENTATION_TRANSPOSE;
    case Orientation::kRot90Ccw:
      return v1::ORIENTATION_ROT90_CCW;
    case Orientation::kRot90Cw:
      return v1::ORIENTATION_ROT90_CW;
    case Orientation::kAntiTranspose:
      return v1::ORIENTATION_ANTITRANSPOSE;
  }
  return v1::ORIENTATION_UNSPECIFIED;
}

v1::OverCapacity ToProto(OverCapacity value) {
  switch (value) {
    case OverCapacity::kReject:
      return v1::OVER_CAPACITY_REJECT;
    case OverCapacity::kEndScan:
      return v1::OVER_CAPACITY_END_SCAN;
  }
  return v1::OVER_CAPACITY_UNSPECIFIED;
}

v1::OutOfCanvas ToProto(OutOfCanvas value) {
  switch (value) {
    case OutOfCanvas::kReject:
      return v1::OUT_OF_CANVAS_REJECT;
    case OutOfCanvas::kClamp:
      return v1::OUT_OF_CANVAS_CLAMP;
  }
  return v1::OUT_OF_CANVAS_UNSPECIFIED;
}

v1::ScheduleClock ToProto(ScheduleClock value) {
  switch (value) {
    case ScheduleClock::kAfterEndOfData:
      return v1::SCHEDULE_CLOCK_AFTER_END_OF_DATA;
    case ScheduleClock::kFromStart:
      return v1::SCHEDULE_CLOCK_FROM_START;
  }
  return v1::SCHEDULE_CLOCK_UNSPECIFIED;
}

v1::Likelihood ToProto(Likelihood value) {
  switch (value) {
    case Likelihood::kPoisson:
      return v1::LIKELIHOOD_POISSON;
    case Likelihood::kGaussian:
      return v1::LIKELIHOOD_GAUSSIAN;
  }
  return v1::LIKELIHOOD_UNSPECIFIED;
}

v1::BatchKind ToProto(BatchKind value) {
  switch (value) {
    case BatchKind::kSparse:
      return v1::BATCH_KIND_SPARSE;
    case BatchKind::kCompact:
      return v1::BATCH_KIND_COMPACT;
  }
  return v1::BATCH_KIND_UNSPECIFIED;
}

v1::SessionState ToProto(SessionState value) {
  switch (value) {
    case SessionState::kCreated:
      return v1::SESSION_STATE_CREATED;
    case SessionState::kReceiving:
      return v1::SESSION_STATE_RECEIVING;
    case SessionState::kReconstructing:
      return v1::SESSION_STATE_RECONSTRUCTING;
    case SessionState::kRefining:
      return v1::SESSION_STATE_REFINING;
    case SessionState::kCompleted:
      return v1::SESSION_STATE_COMPLETED;
    case SessionState::kStopped:
      return v1::SESSION_STATE_STOPPED;
    case SessionState::kFailed:
      return v1::SESSION_STATE_FAILED;
  }
  return v1::SESSION_STATE_UNSPECIFIED;
}

v1::EndOfData ToProto(EndOfData value) {
  switch (value) {
    case EndOfData::kNone:
      return v1::END_OF_DATA_UNSPECIFIED;
    case EndOfData::kFinishScan:
      return v1::END_OF_DATA_FINISH_SCAN;
    case EndOfData::kExpectedPoints:
      return v1::END_OF_DATA_EXPECTED_POINTS;
    case EndOfData::kIdleTimeout:
      return v1::END_OF_DATA_IDLE_TIMEOUT;
    case EndOfData::kCapacity:
      return v1::END_OF_DATA_CAPACITY;
  }
  return v1::END_OF_DATA_UNSPECIFIED;
}

v1::Completion ToProto(Completion value) {
  switch (value) {
    case Completion::kNone:
      return v1::COMPLETION_UNSPECIFIED;
    case Completion::kItEndsAfter:
      return v1::COMPLETION_IT_ENDS_AFTER;
    case Completion::kMaxIterations:
      return v1::COMPLETION_MAX_ITERATIONS;
    case Completion::kStopped:
      return v1::COMPLETION_STOPPED;
    case Completion::kFailed:
      return v1::COMPLETION_FAILED;
  }
  return v1::COMPLETION_UNSPECIFIED;
}

v1::RejectReason ToProto(Reject value) {
  switch (value) {
    case Reject::kDuplicate:
      return v1::REJECT_REASON_DUPLICATE;
    case Reject::kLate:
      return v1::REJECT_REASON_LATE;
    case Reject::kOverCapacity:
      return v1::REJECT_REASON_OVER_CAPACITY;
    case Reject::kOutOfCanvas:
      return v1::REJECT_REASON_OUT_OF_CANVAS;
    case Reject::kNonFinite:
      return v1::REJECT_REASON_NON_FINITE;
    case Reject::kWrongShape:
      return v1::REJECT_REASON_WRONG_SHAPE;
    case Reject::kWrongType:
      return v1::REJECT_REASON_WRONG_TYPE;
    case Reject::kCorrupt:
      return v1::REJECT_REASON_CORRUPT;
    case Reject::kBadId:
      return v1::REJECT_REASON_BAD_ID;
  }
  return v1::REJECT_REASON_UNSPECIFIED;
}

namespace {

// The engine's value, up to `last`, that becomes `value`; the first one when none does.
template <class Engine, class Proto>
Engine Inverse(Proto value, Engine last) {
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    if (ToProto(static_cast<Engine>(i)) == value) return static_cast<Engine>(i);
  }
  return Engine{};
}

}  // namespace

SessionState StateFromProto(v1::SessionState value) {
  return Inverse(value, SessionState::kFailed);
}
EndOfData EndOfDataFromProto(v1::EndOfData value) { return Inverse(value, EndOfData::kCapacity); }
Completion CompletionFromProto(v1::Completion value) { return Inverse(value, Completion::kFailed); }
Reject RejectFromProto(v1::RejectReason value) { return Inverse(value, Reject::kBadId); }

std::string StateName(SessionState state) {
  const std::string& name = v1::SessionState_Name(ToProto(state));
  return std::string(absl::StripPrefix(absl::string_view(name), "SESSION_STATE_"));
}

}  // namespace ptychoserve::server
