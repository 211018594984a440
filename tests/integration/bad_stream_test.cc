// Bad input streams: what ends them, and what is counted.

#include "tests/integration/bad_input_test.h"

#include <functional>
#include <limits>

namespace ptychoserve::integration {
namespace {

using grpc::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

// ---- Streams: what ends them -----------------------------------------------------------------

TEST_F(BadInputTest, StreamToAnEndedSession) {
  RunScan(SmallScan(), 1);
  const grpc::Status frames = FrameInput(api(), Name()).Status();
  EXPECT_THAT(frames, FailsWith(StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
  EXPECT_THAT(frames.error_message(), HasSubstr("COMPLETED"));
  EXPECT_THAT(PositionInput(api(), Name()).Status(),
              FailsWith(StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
}

TEST_F(BadInputTest, SessionThatEndsWhileItIsStreamedTo) {
  const std::string name = Create(SmallScan().Config(1));
  FrameInput frames(api(), name);
  ASSERT_TRUE(frames.AwaitBatches(0));
  ASSERT_THAT(api().Stop(name).status, IsOk());
  frames.Send(SmallScan().Frames(0, 1));
  EXPECT_THAT(frames.Status(), FailsWith(StatusCode::FAILED_PRECONDITION, "SESSION_ENDED"));
  EXPECT_EQ(frames.last_ack().state(), v1::SESSION_STATE_STOPPED);
}

TEST_F(BadInputTest, StreamThatDoesNotBeginWithOpen) {
  const auto violation = AllOf(FailsWith(StatusCode::INVALID_ARGUMENT, kProtocolViolation),
                               BlamesField("open", "first message"));
  FrameInput batch_first(api());
  batch_first.Send(SmallScan().Frames(0, 1));
  EXPECT_THAT(batch_first.Status(), violation);
  PositionInput empty_first(api());
  empty_first.Send({});
  EXPECT_THAT(empty_first.Status(), violation);
  FrameInput nothing(api());
  EXPECT_THAT(nothing.Finish(), violation);
}

TEST_F(BadInputTest, StreamThatIsOpenedTwice) {
  const std::string name = Create(SmallScan().Config(1));
  const auto violation = AllOf(FailsWith(StatusCode::INVALID_ARGUMENT, kProtocolViolation),
                               BlamesField("batch", "not set"));
  FrameInput frames(api(), name);
  frames.Open(name);
  EXPECT_THAT(frames.Status(), violation);
  PositionInput positions(api(), name);
  positions.Open(name);
  EXPECT_THAT(positions.Status(), violation);
}

TEST_F(BadInputTest, FrameBatchWithImpossibleCounts) {
  const auto spoilt = [](const std::function<void(v1::FrameBatch&)>& spoil) {
    v1::StreamFramesRequest request = SmallScan().Frames(0, 2);
    spoil(*request.mutable_batch());
    return request;
  };
  struct Case {
    const char* field;
    std::function<void(v1::FrameBatch&)> spoil;
  };
  const Case cases[] = {
      {"batch.count", [](auto& b) { b.set_count(0); }},
      {"batch.count", [](auto& b) { b.set_count(65'537); }},
      {"batch.frame_ids", [](auto& b) { b.add_frame_ids(0); }},
      {"batch.frame_ids",
       [](auto& b) {
         for (int i = 0; i < 1'000'000; ++i) b.add_frame_ids(i);
       }},
      {"batch.first_frame_id",
       [](auto& b) { b.set_first_frame_id(std::numeric_limits<std::int64_t>::max()); }},
      {"batch.dtype", [](auto& b) { b.set_dtype(v1::DATA_TYPE_UNSPECIFIED); }},
      {"batch.dtype", [](auto& b) { b.set_dtype(v1::DataType(77)); }},
      {"batch.encoding", [](auto& b) { b.set_encoding(v1::Encoding(77)); }},
      {"batch.encoded_sizes", [](auto& b) { b.add_encoded_sizes(5); }},
      {"batch.encoded_sizes", [](auto& b) { b.set_encoding(v1::ENCODING_LZ4); }},
      {"batch.rows", [](auto& b) { b.set_rows(4'000'000'000u); }},
  };
  int number = 0;
  for (const Case& c : cases) {
    FrameInput frames(api(), Create(SmallScan().Config(1), std::to_string(number++)));
    frames.Send(spoilt(c.spoil));
    const grpc::Status status = frames.Status();
    EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kProtocolViolation)) << c.field;
    EXPECT_THAT(status, BlamesField(c.field, ""));
    EXPECT_EQ(frames.last_ack().counters().received(), 0);
  }
}

TEST_F(BadInputTest, PositionBatchWithImpossibleCounts) {
  v1::StreamPositionsRequest request = SmallScan().Positions(0, 3);
  request.mutable_batch()->add_y_m(0);
  grpc::Status status = StreamStatus(request);
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kProtocolViolation));
  EXPECT_THAT(status, BlamesField("batch.y_m", "4 entries"));
  request.mutable_batch()->Clear();
  EXPECT_THAT(StreamStatus(request), BlamesField("batch.x_m", "0 entries"));
}

TEST_F(BadInputTest, MorePositionsInABatchThanAllowed) {
  v1::StreamPositionsRequest request;
  constexpr int kOneTooMany = (1 << 20) + 1;
  request.mutable_batch()->mutable_x_m()->Resize(kOneTooMany, 0);
  request.mutable_batch()->mutable_y_m()->Resize(kOneTooMany, 0);
  const grpc::Status status = StreamStatus(request);
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kProtocolViolation));
  EXPECT_THAT(status, BlamesField("batch.x_m", "1048577"));
}

TEST_F(BadInputTest, EncoderSamplesWithoutAnEncoder) {
  v1::StreamPositionsRequest request;
  request.mutable_encoder_samples()->add_x_counts(0);
  request.mutable_encoder_samples()->add_y_counts(0);
  const grpc::Status status = StreamStatus(request);
  EXPECT_THAT(status, FailsWith(StatusCode::INVALID_ARGUMENT, kProtocolViolation));
  EXPECT_THAT(status, BlamesField("encoder_samples", "scan.encoder"));
}

TEST_F(BadInputTest, MessageOverTheLimit) {
  const auto limit = static_cast<std::size_t>(api().Info().value.max_message_bytes());
  const std::string name = Create(SmallScan().Config(1));
  FrameInput frames(api(), name);
  ASSERT_TRUE(frames.AwaitBatches(0));
  EXPECT_EQ(frames.last_ack().max_message_bytes(), limit);
  v1::StreamFramesRequest request = SmallScan().Frames(0, 1);
  request.mutable_batch()->mutable_data()->resize(limit + 1);
  frames.Send(request);
  EXPECT_EQ(frames.Status().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(api().Get(name).value.frames().received(), 0);
}

// Field 1, length-delimited, longer than the message.
constexpr char kGarbage[] = "\x0a\x7fgarbage";

TEST_F(BadInputTest, BytesThatAreNoMessage) {
  const auto answer = RawCall(api(), "/ptychoserve.v1.Ptychoserve/GetSession", {kGarbage});
  EXPECT_EQ(answer.status.error_code(), StatusCode::UNIMPLEMENTED) << Describe(answer.status);
  EXPECT_TRUE(answer.value.empty());
}

TEST_F(BadInputTest, StreamedBytesThatAreNoMessage) {
  v1::StreamFramesRequest open;
  open.mutable_open()->set_session(Create(SmallScan().Config(1)));
  const auto answer =
      RawCall(api(), "/ptychoserve.v1.Ptychoserve/StreamFrames",
              {open.SerializeAsString(), SmallScan().Frames(0, 1).SerializeAsString(), kGarbage,
               SmallScan().Frames(1, 1).SerializeAsString()});
  EXPECT_THAT(answer.status, AllOf(FailsWith(StatusCode::INVALID_ARGUMENT, kProtocolViolation),
                                   BlamesField("message", "proto")));
  ASSERT_FALSE(answer.value.empty());
  v1::IngestAck last;
  ASSERT_TRUE(last.ParseFromString(answer.value.back()));
  EXPECT_EQ(last.batches(), 1) << "what follows is not dealt with";
}

// ---- Streams: what is counted ----------------------------------------------------------------

TEST_F(BadInputTest, FramesOfTheWrongShape) {
  v1::StreamFramesRequest bad = SmallScan().Frames(0, 2);
  bad.mutable_batch()->set_rows(16);
  const auto counters = CountersAfter(SmallScan().Config(1), bad, SmallScan().Frames(2, 1));
  const v1::Rejection r = RejectionOf(counters, v1::REJECT_REASON_WRONG_SHAPE);
  EXPECT_EQ(r.count(), 2);
  EXPECT_EQ(r.first_frame_id(), 0);
  EXPECT_THAT(r.detail(), AllOf(HasSubstr("16 x 32"), HasSubstr("32 x 32")));
}

TEST_F(BadInputTest, FramesOfTheWrongType) {
  v1::StreamFramesRequest bad = SmallScan().Frames(0, 2);
  bad.mutable_batch()->set_dtype(v1::DATA_TYPE_U32);
  const auto counters = CountersAfter(SmallScan().Config(1), bad, SmallScan().Frames(2, 1));
  const v1::Rejection r = RejectionOf(counters, v1::REJECT_REASON_WRONG_TYPE);
  EXPECT_EQ(r.count(), 2);
  EXPECT_THAT(r.detail(), AllOf(HasSubstr("u32"), HasSubstr("u16")));
}

TEST_F(BadInputTest, PayloadTruncated) {
  v1::StreamFramesRequest bad = SmallScan().Frames(0, 2);
  bad.mutable_batch()->mutable_data()->resize(100);
  const auto counters = CountersAfter(SmallScan().Config(1), bad, SmallScan().Frames(2, 1));
  const v1::Rejection r = RejectionOf(counters, v1::REJECT_REASON_CORRUPT);
  EXPECT_EQ(r.count(), 2);
  EXPECT_THAT(r.detail(), AllOf(HasSubstr("100 bytes"), HasSubstr("4096")));
}

TEST_F(BadInputTest, PayloadThatDoesNotDecode) {
  for (const auto encoding : {v1::ENCODING_LZ4, v1::ENCODING_BSLZ4}) {
    v1::StreamFramesRequest bad = SmallScan().Frames(0, 2);
    v1::FrameBatch& batch = *bad.mutable_batch();
    batch.set_encoding(encoding);
    batch.set_data(std::string(64, '\xa5'));
    batch.add_encoded_sizes(40);
    batch.add_encoded_sizes(24);
    const std::string name = Create(SmallScan().Config(1), std::to_string(encoding));
    FrameInput frames(api(), name);
    frames.Send(bad);
    EXPECT_THAT(frames.Finish(), IsOk());
    EXPECT_EQ(Rejected(frames.last_ack().counters(), v1::REJECT_REASON_CORRUPT), 2);
  }
}

TEST_F(BadInputTest, PixelsThatAreNoCounts) {
  v1::SessionConfig config = SmallScan().Config(1);
  config.mutable_detector()->set_dtype(v1::DATA_TYPE_F32);
  const auto frame_with = [](int id, float value) {
    v1::StreamFramesRequest request = SmallScan().Frames(id, 1);
    const std::vector<std::uint16_t>& counts = SmallScan().frame(id);
    std::vector<float> pixels(counts.begin(), counts.end());
    pixels[100] = value;
    request.mutable_batch()->set_dtype(v1::DATA_TYPE_F32);
    request.mutable_batch()->set_data(Bytes(pixels));
    return request;
  };
  const std::string name = Create(config);
  FrameInput frames(api(), name);
  frames.Send(frame_with(0, static_cast<float>(kNan)));
  frames.Send(frame_with(1, std::numeric_limits<float>::infinity()));
  frames.Send(frame_with(2, -1.0f));
  frames.Send(frame_with(3, 0.0f));
  EXPECT_THAT(frames.Finish(), IsOk());
  const v1::IngestCounters counters = frames.last_ack().counters();
  const v1::Rejection r = RejectionOf(counters, v1::REJECT_REASON_NON_FINITE);
  EXPECT_EQ(r.count(), 3);
  EXPECT_EQ(r.first_frame_id(), 0);
  EXPECT_THAT(r.detail(), HasSubstr("[3, 4]"));  // Pixel 100 of 32 columns.
  EXPECT_EQ(counters.accepted(), 1);
}

TEST_F(BadInputTest, PositionsThatAreNotFinite) {
  v1::StreamPositionsRequest bad = SmallScan().Positions(0, 3);
  bad.mutable_batch()->set_x_m(1, kNan);
  bad.mutable_batch()->set_y_m(2, std::numeric_limits<double>::infinity());
  const auto counters = CountersAfter(SmallScan().Config(1), bad, SmallScan().Positions(3, 1));
  const v1::Rejection r = RejectionOf(counters, v1::REJECT_REASON_NON_FINITE);
  EXPECT_EQ(r.count(), 2);
  EXPECT_EQ(r.first_frame_id(), 1);
  EXPECT_THAT(r.detail(), HasSubstr("nan"));
  EXPECT_EQ(counters.accepted(), 2) << "the others of the batch are good";
}

TEST_F(BadInputTest, PositionsOutsideTheCanvas) {
  v1::SessionConfig config = SmallScan().Config(1);
  v1::ScanBounds& bounds = *config.mutable_scan()->mutable_bounds();
  bounds.set_y_min_m(-1e-6);
  bounds.set_y_max_m(1e-6);
  bounds.set_x_min_m(-1e-6);
  bounds.set_x_max_m(1e-6);
  v1::StreamPositionsRequest bad = SmallScan().Positions(0, 2);
  bad.mutable_batch()->set_x_m(0, 1.0);
  bad.mutable_batch()->set_y_m(1, -1e300);
  const auto counters = CountersAfter(config, bad, SmallScan().Positions(2, 1));
  EXPECT_EQ(Rejected(counters, v1::REJECT_REASON_OUT_OF_CANVAS), 2);
  EXPECT_EQ(counters.accepted(), 1);
}

TEST_F(BadInputTest, PositionsThatAreClampedWhenAskedTo) {
  v1::SessionConfig config = SmallScan().Config(1);
  v1::ScanBounds& bounds = *config.mutable_scan()->mutable_bounds();
  bounds.set_y_min_m(-1e-6);
  bounds.set_y_max_m(1e-6);
  bounds.set_x_min_m(-1e-6);
  bounds.set_x_max_m(1e-6);
  config.mutable_scan()->set_out_of_canvas(v1::OUT_OF_CANVAS_CLAMP);
  v1::StreamPositionsRequest bad = SmallScan().Positions(0, 1);
  bad.mutable_batch()->set_x_m(0, 1e-4);
  const auto counters = CountersAfter(config, bad, SmallScan().Positions(1, 1));
  EXPECT_EQ(counters.clamped(), 1);
  EXPECT_EQ(counters.accepted(), 2);
}

TEST_F(BadInputTest, PositionsThatGrowTheCanvasBeyondItsLimit) {
  v1::StreamPositionsRequest bad = SmallScan().Positions(0, 2);
  bad.mutable_batch()->set_x_m(1, 1.0);  // A metre away.
  const auto counters = CountersAfter(SmallScan().Config(1), bad, SmallScan().Positions(2, 1));
  const v1::Rejection r = RejectionOf(counters, v1::REJECT_REASON_OUT_OF_CANVAS);
  EXPECT_EQ(r.count(), 1);
  EXPECT_EQ(r.first_frame_id(), 1);
}

TEST_F(BadInputTest, IdsThatHaveCome) {
  const auto frames = CountersAfter(
      SmallScan().Config(1),
      [] {
        v1::StreamFramesRequest twice = SmallScan().Frames(0, 2);
        twice.mutable_batch()->add_frame_ids(0);
        twice.mutable_batch()->add_frame_ids(0);
        return twice;
      }(),
      SmallScan().Frames(0, 1));
  EXPECT_EQ(Rejected(frames, v1::REJECT_REASON_DUPLICATE), 2);
}

TEST_F(BadInputTest, IdsBelowTheFirst) {
  v1::SessionConfig config = SmallScan().Config(1);
  config.mutable_scan()->set_first_frame_id(10);
  v1::StreamFramesRequest bad = SmallScan().Frames(0, 2);
  bad.mutable_batch()->set_first_frame_id(-5);
  v1::StreamFramesRequest good = SmallScan().Frames(0, 1);
  good.mutable_batch()->set_first_frame_id(10);
  const v1::Rejection r = RejectionOf(CountersAfter(config, bad, good), v1::REJECT_REASON_BAD_ID);
  EXPECT_EQ(r.count(), 2);
  EXPECT_EQ(r.first_frame_id(), -5);
}

TEST_F(BadInputTest, FramesBeyondTheCapacity) {
  v1::SessionConfig config = SmallScan().StreamingConfig(1);
  config.mutable_scan()->set_capacity(1);
  const std::string name = Create(config);
  FrameInput frames(api(), name);
  frames.Send(SmallScan().Frames(0, 1));
  frames.Send(SmallScan().Frames(1, 5));
  EXPECT_THAT(frames.Finish(), IsOk());
  const v1::Rejection r =
      RejectionOf(frames.last_ack().counters(), v1::REJECT_REASON_OVER_CAPACITY);
  EXPECT_EQ(r.count(), 5);
  EXPECT_EQ(r.first_frame_id(), 1);
  EXPECT_THAT(r.detail(), HasSubstr("scan.capacity"));
  EXPECT_FALSE(IsFinal(api().Get(name).value.state()));
}

TEST_F(BadInputTest, MillionPositionsForFewFrames) {
  v1::StreamPositionsRequest bad;
  constexpr int kMany = 1'000'000;
  bad.mutable_batch()->mutable_x_m()->Resize(kMany, 0);
  bad.mutable_batch()->mutable_y_m()->Resize(kMany, 0);
  const auto counters = CountersAfter(SmallScan().Config(1), bad, SmallScan().Positions(0, 1));
  EXPECT_EQ(counters.received(), kMany + 1);
  EXPECT_GT(Rejected(counters, v1::REJECT_REASON_OVER_CAPACITY), 900'000)
      << "positions that wait for frames are bounded";
  EXPECT_GT(counters.accepted(), SmallScan().points());
}

TEST_F(BadInputTest, EncoderSamplesBeyondAllIds) {
  v1::SessionConfig config = SmallScan().Config(1);
  v1::Encoder& encoder = *config.mutable_scan()->mutable_encoder();
  encoder.set_samples_per_frame(1);
  encoder.set_x_scale_m_per_count(1e-9);
  encoder.set_y_scale_m_per_count(1e-9);
  config.mutable_scan()->set_first_frame_id(100);
  v1::StreamPositionsRequest bad;
  bad.mutable_encoder_samples()->set_first_sample(std::numeric_limits<std::int64_t>::max() - 50);
  v1::StreamPositionsRequest good;
  for (v1::StreamPositionsRequest* r : {&bad, &good}) {
    r->mutable_encoder_samples()->add_x_counts(0);
    r->mutable_encoder_samples()->add_y_counts(0);
  }
  const auto counters = CountersAfter(config, bad, good);
  EXPECT_EQ(Rejected(counters, v1::REJECT_REASON_OVER_CAPACITY), 1);
  EXPECT_EQ(counters.accepted(), 1);
}

TEST_F(BadInputTest, InputAfterTheEndOfData) {
  v1::SessionConfig config = SmallScan().StreamingConfig(1'000'000);
  const std::string name = Create(config);
  SendAll(name, SmallScan());
  FrameInput frames(api(), name);
  PositionInput positions(api(), name);
  ASSERT_THAT(api().Finish(name).status, IsOk());
  v1::StreamFramesRequest late_frame = SmallScan().Frames(0, 1);
  late_frame.mutable_batch()->set_first_frame_id(1000);
  v1::StreamPositionsRequest late_position = SmallScan().Positions(0, 1);
  late_position.mutable_batch()->set_first_frame_id(1000);
  frames.Send(late_frame);
  positions.Send(late_position);
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_THAT(positions.Finish(), IsOk());
  EXPECT_EQ(Rejected(frames.last_ack().counters(), v1::REJECT_REASON_LATE), 1);
  EXPECT_EQ(Rejected(positions.last_ack().counters(), v1::REJECT_REASON_LATE), 1);
}

TEST_F(BadInputTest, ScanWithoutAnyUsableFrame) {
  const std::string name = Create(SmallScan().Config(1));
  EXPECT_THAT(api().Finish(name).status, IsOk());
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_FAILED);
  EXPECT_EQ(session.completion(), v1::COMPLETION_FAILED);
  EXPECT_THAT(session.failure(), HasSubstr("no frame can be used"));
}

TEST_F(BadInputTest, FramesWithoutASingleCount) {
  const std::string name = Create(SmallScan().StreamingConfig(2));
  PositionInput positions(api(), name);
  positions.Send(SmallScan().Positions(0, SmallScan().points()));
  EXPECT_THAT(positions.Finish(), IsOk());
  FrameInput frames(api(), name);
  v1::StreamFramesRequest dark = SmallScan().Frames(0, 1);
  dark.mutable_batch()->set_data(std::string(SmallScan().frame_bytes(), '\0'));
  frames.Send(dark);
  frames.Send(SmallScan().Frames(1, SmallScan().points() - 1));
  EXPECT_THAT(frames.Finish(), IsOk());
  EXPECT_THAT(api().Finish(name).status, IsOk());
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_COMPLETED);
  EXPECT_EQ(session.empty_frames(), 1);
  EXPECT_EQ(session.active_points(), SmallScan().points() - 1);
}

}  // namespace
}  // namespace ptychoserve::integration
