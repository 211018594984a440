#include "server/ingest/batch_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <span>
#include <string>

namespace ptychoserve::server {
namespace {

v1::FrameBatch GoodFrames() {
  v1::FrameBatch batch;
  batch.set_first_frame_id(10);
  batch.set_count(2);
  batch.set_dtype(v1::DATA_TYPE_U16);
  batch.set_rows(2);
  batch.set_cols(3);
  batch.set_data(std::string(24, 'x'));
  return batch;
}

absl::StatusOr<FrameBatch> Check(const v1::FrameBatch& batch) {
  return CheckFrameBatch(batch, std::as_bytes(std::span(batch.data())));
}

TEST(FrameBatchCheck, GoodBatchIsViewedAsItIs) {
  v1::FrameBatch batch = GoodFrames();
  batch.add_frame_ids(5);
  batch.add_frame_ids(3);
  const auto view = Check(batch);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->count(), 2);
  EXPECT_EQ(view->id(1), 3);
  EXPECT_EQ(view->shape, (Shape{2, 3}));
  ChainReader data(view->data);
  EXPECT_EQ(static_cast<const void*>(data.Read(0, 24)), batch.data().data());
}

TEST(FrameBatchCheck, WhatContradictsThePayloadIsLeftToTheEngine) {
  v1::FrameBatch batch = GoodFrames();
  batch.set_data("short");
  EXPECT_TRUE(Check(batch).ok());
}

struct BadBatch {
  const char* field;
  std::function<void(v1::FrameBatch&)> spoil;
};

TEST(FrameBatchCheck, ViolationsNameTheField) {
  const std::vector<BadBatch> cases = {
      {"batch.count", [](auto& b) { b.set_count(0); }},
      {"batch.count", [](auto& b) { b.set_count(65537); }},
      {"batch.frame_ids", [](auto& b) { b.add_frame_ids(1); }},
      {"batch.first_frame_id",
       [](auto& b) { b.set_first_frame_id(std::numeric_limits<std::int64_t>::max()); }},
      {"batch.dtype", [](auto& b) { b.clear_dtype(); }},
      {"batch.dtype", [](auto& b) { b.set_dtype(static_cast<v1::DataType>(50)); }},
      {"batch.encoding", [](auto& b) { b.set_encoding(static_cast<v1::Encoding>(50)); }},
      {"batch.encoded_sizes", [](auto& b) { b.add_encoded_sizes(24); }},
      {"batch.encoded_sizes", [](auto& b) { b.set_encoding(v1::ENCODING_LZ4); }},
      {"batch.rows", [](auto& b) { b.set_rows(4294967295u); }},
  };
  for (const BadBatch& c : cases) {
    v1::FrameBatch batch = GoodFrames();
    c.spoil(batch);
    const auto checked = Check(batch);
    EXPECT_EQ(checked.status().code(), absl::StatusCode::kInvalidArgument) << c.field;
    EXPECT_THAT(std::string(checked.status().message()), testing::HasSubstr(c.field));
  }
}

TEST(PositionBatchCheck, CountsMustAgree) {
  v1::PositionBatch batch;
  EXPECT_FALSE(CheckPositionBatch(batch).ok()) << "empty";
  batch.add_x_m(1);
  EXPECT_FALSE(CheckPositionBatch(batch).ok()) << "no y_m";
  batch.add_y_m(2);
  EXPECT_TRUE(CheckPositionBatch(batch).ok());
  batch.add_frame_ids(1);
  batch.add_frame_ids(2);
  EXPECT_FALSE(CheckPositionBatch(batch).ok()) << "two ids";
}

TEST(PositionBatchCheck, AMillionEntriesAreTheLimit) {
  v1::PositionBatch batch;
  batch.mutable_x_m()->Resize(kMaxPositionsPerBatch, 0.0);
  batch.mutable_y_m()->Resize(kMaxPositionsPerBatch, 0.0);
  EXPECT_TRUE(CheckPositionBatch(batch).ok());
  batch.add_x_m(0);
  batch.add_y_m(0);
  EXPECT_THAT(std::string(CheckPositionBatch(batch).status().message()),
              testing::HasSubstr("1048577 entries; allowed: 1..1048576"));
}

TEST(EncoderSamplesCheck, IndexIsNotNegative) {
  v1::EncoderSamples batch;
  batch.add_x_counts(1);
  batch.add_y_counts(1);
  EXPECT_TRUE(CheckEncoderSamples(batch).ok());
  batch.set_first_sample(-1);
  EXPECT_FALSE(CheckEncoderSamples(batch).ok());
}

}  // namespace
}  // namespace ptychoserve::server
