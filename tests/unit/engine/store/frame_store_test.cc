#include "engine/store/frame_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <thread>

#include "engine/frames/codec.h"
#include "tests/unit/engine/test_config.h"

namespace ptychoserve {
namespace {

constexpr int kSide = 16;
constexpr std::int64_t kPlentyOfStaging = 1 << 20;

// Owns what a FrameBatch looks at. Every pixel of frame `id` has the value id + 1.
struct OwnedFrames {
  explicit OwnedFrames(std::vector<std::int64_t> frame_ids, int side = kSide)
      : ids(std::move(frame_ids)), pixels(ids.size() * static_cast<std::size_t>(side * side)) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::fill_n(pixels.begin() + static_cast<std::ptrdiff_t>(i) * side * side, side * side,
                  static_cast<std::uint16_t>(ids[i] + 1));
    }
    batch.ids = ids;
    batch.frames = static_cast<int>(ids.size());
    batch.shape = {side, side};
    batch.data = std::as_bytes(std::span(pixels));
  }
  std::vector<std::int64_t> ids;
  std::vector<std::uint16_t> pixels;
  FrameBatch batch;
};

struct OwnedPositions {
  OwnedPositions(std::vector<std::int64_t> frame_ids, std::vector<double> x, std::vector<double> y)
      : ids(std::move(frame_ids)), x_m(std::move(x)), y_m(std::move(y)) {
    batch.ids = ids;
    batch.x_m = x_m;
    batch.y_m = y_m;
  }
  std::vector<std::int64_t> ids;
  std::vector<double> x_m, y_m;
  PositionBatch batch;
};

// Position k of a raster of 8 columns with steps of 4 pixels.
OwnedPositions Raster(const std::vector<std::int64_t>& ids) {
  std::vector<double> x, y;
  for (const std::int64_t id : ids) {
    x.push_back(static_cast<double>(id % 8) * 4 * kSmallPixel_m);
    y.push_back(static_cast<double>(id / 8) * 4 * kSmallPixel_m);
  }
  return {ids, x, y};
}

FrameStore MakeStore(const ReconstructionConfig& config,
                     std::int64_t staging_bytes = kPlentyOfStaging) {
  const ReconstructionConfig resolved = Resolve(config);
  return FrameStore(resolved, *PlainStaging(FrameStore::StagingBytes(resolved, staging_bytes)),
                    staging_bytes);
}

std::int64_t Rejected(const IngestCounters& c, Reject r) {
  return c.rejected[static_cast<std::size_t>(r)];
}

// Loads what is staged: frame id as seen in the pixels, by slot.
std::map<std::int32_t, int> Load(FrameStore& store) {
  std::map<std::int32_t, int> id_of_slot;
  for (const FrameToLoad& f : store.TakeStaged()) {
    std::uint16_t value;
    std::memcpy(&value, f.pixels, sizeof value);
    id_of_slot[f.slot] = value - 1;
  }
  store.ReleaseStaged(/*under_way=*/0);
  return id_of_slot;
}

TEST(FrameStore, JoinsByIdWhateverTheOrderOfArrival) {
  std::vector<std::int64_t> ids(40);
  std::iota(ids.begin(), ids.end(), 0);
  std::mt19937 random(1);
  std::vector<std::int64_t> frame_order = ids, position_order = ids;
  std::shuffle(frame_order.begin(), frame_order.end(), random);
  std::shuffle(position_order.begin(), position_order.end(), random);

  FrameStore store = MakeStore(SmallConfig());
  store.AddPositions(Raster({position_order.begin(), position_order.begin() + 20}).batch);
  OwnedFrames frames(frame_order);
  EXPECT_EQ(store.AddFrames(frames.batch, 0), 40);
  const auto id_of_slot = Load(store);
  std::vector<FrameStore::Point> points = store.NewPoints();
  EXPECT_EQ(points.size(), 20u);
  store.AddPositions(Raster({position_order.begin() + 20, position_order.end()}).batch);
  for (const auto& p : store.NewPoints()) points.push_back(p);

  ASSERT_EQ(points.size(), 40u);
  for (const auto& p : points) {
    EXPECT_EQ(id_of_slot.at(p.slot), p.frame_id) << "slot holds another frame's pixels";
    EXPECT_EQ(p.window.col + kSide / 2, p.frame_id % 8 * 4);
    EXPECT_EQ(p.window.row + kSide / 2, p.frame_id / 8 * 4);
  }
}

TEST(FrameStore, DroppedAndRepeatedFramesChangeNoOtherPairing) {
  FrameStore store = MakeStore(SmallConfig());
  OwnedFrames frames({0, 2, 2, 5, 4, 0});  // 1 and 3 are lost.
  store.AddFrames(frames.batch, 0);
  store.AddPositions(Raster({0, 1, 2, 3, 4, 5, 5}).batch);
  const auto id_of_slot = Load(store);
  const auto points = store.NewPoints();
  std::set<std::int64_t> ids;
  for (const auto& p : points) {
    EXPECT_EQ(id_of_slot.at(p.slot), p.frame_id);
    ids.insert(p.frame_id);
  }
  EXPECT_THAT(ids, ::testing::ElementsAre(0, 2, 4, 5));
  const auto status = store.status();
  EXPECT_EQ(Rejected(status.frames, Reject::kDuplicate), 2);
  EXPECT_EQ(Rejected(status.positions, Reject::kDuplicate), 1);
  EXPECT_EQ(status.positions_without_frame, 2);
  EXPECT_EQ(status.joined_points, 4);
}

TEST(FrameStore, ReceivedIsAcceptedPlusRefused) {
  FrameStore store = MakeStore(SmallConfig());
  OwnedFrames frames({0, 1, 1, -5, 2});
  store.AddFrames(frames.batch, 0);
  const IngestCounters c = store.frame_counters();
  EXPECT_EQ(c.received, 5);
  EXPECT_EQ(c.accepted, 3);
  EXPECT_EQ(c.total_rejected(), 2);
  EXPECT_EQ(Rejected(c, Reject::kBadId), 1);
  EXPECT_EQ(c.first_rejected_id[static_cast<std::size_t>(Reject::kBadId)], -5);
  EXPECT_EQ(c.watermark, 2);
}

TEST(FrameStore, WatermarkStopsAtTheFirstGap) {
  ReconstructionConfig config = SmallConfig();
  config.scan.first_frame_id = 10;
  FrameStore store = MakeStore(config);
  EXPECT_EQ(store.frame_counters().watermark, 9);
  store.AddFrames(OwnedFrames({10, 11, 13}).batch, 0);
  EXPECT_EQ(store.frame_counters().watermark, 11);
  store.AddFrames(OwnedFrames({12}).batch, 0);
  EXPECT_EQ(store.frame_counters().watermark, 13);
}

TEST(FrameStore, SaysWhichIdsHaveNeitherBeenAcceptedNorRefused) {
  ReconstructionConfig config = SmallConfig();
  config.scan.first_frame_id = 10;
  FrameStore store = MakeStore(config);
  EXPECT_THAT(store.MissingFrames(10).ranges, ::testing::IsEmpty());
  EXPECT_EQ(store.MissingFrames(10).known_up_to, 9);
  store.AddFrames(OwnedFrames({11, 12, 15}).batch, 0);
  OwnedFrames wrong({13}, kSide / 2);
  store.AddFrames(wrong.batch, 0);
  OwnedPositions positions({10, 14}, {0, std::nan("")}, {0, 0});
  store.AddPositions(positions.batch);
  using ::testing::ElementsAre;
  using ::testing::Pair;
  EXPECT_THAT(store.MissingFrames(10).ranges, ElementsAre(Pair(10, 10), Pair(14, 14)));
  EXPECT_EQ(store.MissingFrames(10).known_up_to, 15);
  EXPECT_THAT(store.MissingFrames(1).ranges, ElementsAre(Pair(10, 10)));
  EXPECT_EQ(store.MissingFrames(1).known_up_to, 13);
  EXPECT_THAT(store.MissingPositions(10).ranges, ElementsAre(Pair(11, 13)));
  EXPECT_EQ(store.MissingPositions(10).known_up_to, 14);
}

TEST(FrameStore, SkippedFramesAreAccountedForUnlessTheyAreThere) {
  ReconstructionConfig config = SmallConfig();
  config.scan.first_frame_id = 10;
  FrameStore store = MakeStore(config);
  store.AddFrames(OwnedFrames({11, 14}).batch, 0);
  const std::int64_t before = store.inputs_taken();
  ASSERT_TRUE(store.SkipFrames(10, 5).ok());
  EXPECT_GT(store.inputs_taken(), before);
  IngestCounters c = store.frame_counters();
  EXPECT_EQ(c.skipped, 3);
  EXPECT_EQ(c.watermark, 14);
  EXPECT_EQ(c.received, 2) << "they are no frames";
  EXPECT_THAT(store.MissingFrames(10).ranges, ::testing::IsEmpty());

  // Twice is as good as once.
  const std::int64_t after = store.inputs_taken();
  ASSERT_TRUE(store.SkipFrames(11, 3).ok());
  EXPECT_EQ(store.frame_counters().skipped, 3);
  EXPECT_EQ(store.inputs_taken(), after);
}

TEST(FrameStore, AFrameThatComesAfterItWasSkippedIsTakenAndNoLongerCountedAsSkipped) {
  FrameStore store = MakeStore(SmallConfig());
  ASSERT_TRUE(store.SkipFrames(0, 4).ok());
  store.AddPositions(Raster({0, 1, 2, 3}).batch);
  store.AddFrames(OwnedFrames({2}).batch, 0);
  OwnedFrames wrong({3}, kSide / 2);
  store.AddFrames(wrong.batch, 0);
  Load(store);
  EXPECT_EQ(store.NewPoints().size(), 1u);
  const IngestCounters c = store.frame_counters();
  EXPECT_EQ(c.accepted, 1);
  EXPECT_EQ(c.skipped, 3) << "one that was refused is still without a frame";
  EXPECT_EQ(c.watermark, 3);
}

TEST(FrameStore, WhatMayNotBeSkippedIsRefusedWithItsReason) {
  ReconstructionConfig config = SmallConfig();
  config.scan.first_frame_id = 10;
  FrameStore store = MakeStore(config);
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1048577}}) {
    EXPECT_EQ(store.SkipFrames(10, count).code(), absl::StatusCode::kInvalidArgument) << count;
  }
  EXPECT_EQ(store.SkipFrames(std::numeric_limits<std::int64_t>::max(), 1).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store.frame_counters().received, 0);
  ASSERT_TRUE(store.SkipFrames(-5, 3).ok());
  ASSERT_TRUE(store.SkipFrames(8, 3).ok());
  EXPECT_EQ(Rejected(store.frame_counters(), Reject::kBadId), 5);
  EXPECT_EQ(store.frame_counters().skipped, 1);
  store.Close();
  ASSERT_TRUE(store.SkipFrames(20, 7).ok());
  const IngestCounters c = store.frame_counters();
  EXPECT_EQ(Rejected(c, Reject::kLate), 7);
  EXPECT_EQ(c.skipped, 1);
  EXPECT_EQ(c.watermark, 10);
  EXPECT_EQ(c.received, c.accepted + c.total_rejected());
  EXPECT_EQ(c.first_rejected_id[static_cast<std::size_t>(Reject::kLate)], 20);
}

TEST(FrameStore, ManyFramesAreSkippedAtOnce) {
  FrameStore store = MakeStore(SmallConfig());
  store.AddFrames(OwnedFrames({500'000}).batch, 0);
  ASSERT_TRUE(store.SkipFrames(0, FrameStore::kMaxSkippedAtOnce).ok());
  EXPECT_EQ(store.frame_counters().skipped, FrameStore::kMaxSkippedAtOnce - 1);
  EXPECT_EQ(store.frame_counters().watermark, FrameStore::kMaxSkippedAtOnce - 1);
}

TEST(FrameStore, CapacityThatIsNoMultipleOfTheBatchGivesExactlySoManyPoints) {
  ReconstructionConfig config = SmallConfig();
  config.scan.capacity = 37;
  FrameStore store = MakeStore(config);
  std::vector<std::int64_t> ids(64);
  std::iota(ids.begin(), ids.end(), 0);
  store.AddPositions(Raster(ids).batch);
  for (int first = 0; first < 64; first += 16) {
    OwnedFrames frames({ids.begin() + first, ids.begin() + first + 16});
    store.AddFrames(frames.batch, 0);
  }
  const auto loaded = Load(store);
  const auto points = store.NewPoints();
  EXPECT_EQ(points.size(), 37u);
  std::set<std::int32_t> slots;
  for (const auto& p : points) {
    slots.insert(p.slot);
    EXPECT_LT(p.slot, 37);
    EXPECT_TRUE(loaded.contains(p.slot));
  }
  EXPECT_EQ(slots.size(), 37u);
  const auto status = store.status();
  EXPECT_TRUE(status.full);
  EXPECT_EQ(Rejected(status.frames, Reject::kOverCapacity), 27);
  EXPECT_EQ(status.frames.accepted, 37);
}

TEST(FrameStore, PositionsBeyondTheCapacityDoNotTakeSlotsFromFrames) {
  ReconstructionConfig config = SmallConfig();
  config.scan.capacity = 4;
  FrameStore store = MakeStore(config);
  std::vector<std::int64_t> ids(20);
  std::iota(ids.begin(), ids.end(), 0);
  store.AddPositions(Raster(ids).batch);
  store.AddFrames(OwnedFrames({16, 17, 18, 19}).batch, 0);
  Load(store);
  EXPECT_EQ(store.NewPoints().size(), 4u);
}

TEST(FrameStore, AFrameIsNoPointBeforeItIsOnTheDevice) {
  FrameStore store = MakeStore(SmallConfig());
  store.AddPositions(Raster({0}).batch);
  store.AddFrames(OwnedFrames({0}).batch, 0);
  EXPECT_TRUE(store.NewPoints().empty());
  const auto staged = store.TakeStaged();
  EXPECT_EQ(staged.size(), 1u);
  EXPECT_TRUE(store.NewPoints().empty());
  store.ReleaseStaged(/*under_way=*/0);
  EXPECT_EQ(store.NewPoints().size(), 1u);
  EXPECT_TRUE(store.NewPoints().empty()) << "handed out twice";
}

TEST(FrameStore, FindsFramesThatAreOnTheDeviceAndTheLastOfThem) {
  FrameStore store = MakeStore(SmallConfig());
  EXPECT_FALSE(store.Loaded(std::nullopt));
  store.AddPositions(Raster({4}).batch);
  store.AddFrames(OwnedFrames({5, 3}).batch, 0);
  store.TakeStaged();
  EXPECT_FALSE(store.Loaded(std::nullopt));
  EXPECT_FALSE(store.Loaded(5)) << "is still being copied";
  store.ReleaseStaged(/*under_way=*/1);
  EXPECT_EQ(store.Loaded(std::nullopt)->frame_id, 5);
  EXPECT_FALSE(store.Loaded(3));
  store.ReleaseStaged(/*under_way=*/0);
  EXPECT_EQ(store.Loaded(std::nullopt)->frame_id, 3);
  EXPECT_EQ(store.Loaded(5)->slot, 0);
  EXPECT_EQ(store.Loaded(3)->slot, 1);
  EXPECT_FALSE(store.Loaded(4)) << "has a position alone";
}

TEST(FrameStore, AFullStagingAreaStopsInTheMiddleOfABatchAndGoesOnFromThere) {
  const std::int64_t frame_bytes = kSide * kSide * 2;
  FrameStore store = MakeStore(SmallConfig(), 3 * frame_bytes);
  OwnedFrames frames({0, 1, 2, 3, 4});
  EXPECT_EQ(store.AddFrames(frames.batch, 0), 3);
  EXPECT_EQ(store.free_staging_bytes(), 0);
  int calls = 0;
  store.NotifyWhenSpace([&] { ++calls; });
  EXPECT_EQ(calls, 0);
  Load(store);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(store.AddFrames(frames.batch, 3), 5);
  Load(store);
  EXPECT_EQ(store.frame_counters().accepted, 5);
  EXPECT_EQ(store.frame_counters().total_rejected(), 0);
}

TEST(FrameStore, MemoryComesBackAsTheDeviceCopies) {
  constexpr std::int64_t kFrameBytes = kSide * kSide * 2;
  FrameStore store = MakeStore(SmallConfig(), 4 * kFrameBytes);
  store.AddPositions(Raster({0, 1, 2, 3, 4, 5}).batch);
  store.AddFrames(OwnedFrames({0, 1}).batch, 0);
  const auto staged = store.TakeStaged();
  ASSERT_EQ(staged.size(), 2u);
  const std::byte* const first = staged[0].pixels;
  store.AddFrames(OwnedFrames({2}).batch, 0);
  ASSERT_EQ(store.TakeStaged().size(), 1u);
  EXPECT_EQ(store.free_staging_bytes(), kFrameBytes);
  EXPECT_FALSE(store.ReleaseStaged(/*under_way=*/3));
  EXPECT_TRUE(store.NewPoints().empty());

  EXPECT_TRUE(store.ReleaseStaged(/*under_way=*/1));
  EXPECT_EQ(store.free_staging_bytes(), 3 * kFrameBytes);
  EXPECT_EQ(store.NewPoints().size(), 2u) << "only what is on the device";
  EXPECT_EQ(store.status().staged_frames, 1);
  store.ReleaseStaged(/*under_way=*/0);
  EXPECT_EQ(store.status().staged_frames, 0);

  // What is in the cache, and in one piece.
  store.AddFrames(OwnedFrames({3, 4, 5}).batch, 0);
  const auto again = store.TakeStaged();
  ASSERT_EQ(again.size(), 3u);
  EXPECT_EQ(again[0].pixels, first);
  EXPECT_EQ(again[1].pixels, first + kFrameBytes);
  EXPECT_EQ(again[2].pixels, first + 2 * kFrameBytes);
  store.ReleaseStaged(/*under_way=*/0);
}

TEST(FrameStore, FramesOfOneLoadFollowEachOtherAsTheirSlotsDo) {
  FrameStore store = MakeStore(SmallConfig());
  for (int id = 0; id < 20; id += 2) store.AddFrames(OwnedFrames({id, id + 1}).batch, 0);
  const auto staged = store.TakeStaged();
  ASSERT_EQ(staged.size(), 20u);
  for (std::size_t i = 1; i < staged.size(); ++i) {
    EXPECT_EQ(staged[i].slot, staged[i - 1].slot + 1);
    EXPECT_EQ(staged[i].pixels, staged[i - 1].pixels + kSide * kSide * 2);
  }
  store.ReleaseStaged(/*under_way=*/0);
}

TEST(FrameStore, NeedsNoMoreStagingThanThereAreSlots) {
  constexpr std::int64_t kFrameBytes = kSide * kSide * 2;
  ReconstructionConfig config = Resolve(SmallConfig());
  EXPECT_EQ(FrameStore::StagingBytes(config, 1 << 30), config.scan.capacity * kFrameBytes);
  EXPECT_EQ(FrameStore::StagingBytes(config, 5 * kFrameBytes + 1), 5 * kFrameBytes);
  EXPECT_EQ(FrameStore::StagingBytes(config, 1), 2 * kFrameBytes);
  config.detector.auto_centre = AutoCentreConfig{.crop_shape = {16, 16}, .frames = 9};
  EXPECT_EQ(FrameStore::StagingBytes(config, 1), 9 * kFrameBytes);
}

TEST(FrameStore, PayloadsInPiecesGiveTheSameFrames) {
  for (const Encoding encoding : {Encoding::kRaw, Encoding::kLz4, Encoding::kBslz4}) {
    FrameStore store = MakeStore(SmallConfig());
    OwnedFrames frames({0, 1, 2, 3, 4});
    std::vector<std::byte> data;
    std::vector<std::uint32_t> sizes;
    for (std::size_t i = 0; i < 5; ++i) {
      const auto pixels = std::span(frames.pixels).subspan(i * kSide * kSide, kSide * kSide);
      const auto encoded = EncodeFrame(encoding, std::as_bytes(pixels), 2);
      data.insert(data.end(), encoded.begin(), encoded.end());
      sizes.push_back(static_cast<std::uint32_t>(encoded.size()));
    }
    frames.batch.encoding = encoding;
    if (encoding != Encoding::kRaw) frames.batch.encoded_sizes = sizes;
    frames.batch.data = {};
    for (std::size_t begin = 0; begin < data.size(); begin += 13) {
      frames.batch.data.Append(
          std::span(data).subspan(begin, std::min<std::size_t>(13, data.size() - begin)));
    }
    EXPECT_EQ(store.AddFrames(frames.batch, 0), 5);
    EXPECT_EQ(store.frame_counters().accepted, 5);
    const auto staged = store.TakeStaged();
    ASSERT_EQ(staged.size(), 5u);
    for (const FrameToLoad& f : staged) {
      std::vector<std::uint16_t> pixels(kSide * kSide);
      std::memcpy(pixels.data(), f.pixels, 2 * pixels.size());
      EXPECT_THAT(pixels, ::testing::Each(f.slot + 1));  // Slots are given out in order.
    }
    store.ReleaseStaged(/*under_way=*/0);
  }
}

TEST(FrameStore, IsDroppedWhileFramesAreBeingPrepared) {
  for (int round = 0; round < 20; ++round) {
    ReconstructionConfig config = SmallConfig();
    config.scan.capacity = 1000;
    FrameStore store = MakeStore(config);
    std::vector<std::jthread> writers;
    for (int t = 0; t < 3; ++t) {
      writers.emplace_back([&, t] {
        for (int i = 0; i < 20; ++i) {
          std::vector<std::int64_t> ids(16);
          std::iota(ids.begin(), ids.end(), (t * 20 + i) * 16);
          store.AddFrames(OwnedFrames(ids).batch, 0);
        }
      });
    }
    while (store.inputs_taken() < 10 * round) std::this_thread::yield();
    store.Close();
    store.Drop();
    writers.clear();
    EXPECT_EQ(store.status().staged_frames, 0);
    EXPECT_EQ(store.free_staging_bytes(), 0);
    EXPECT_EQ(store.frame_counters().received, 3 * 20 * 16);
  }
}

TEST(FrameStore, NotifiesAtOnceWhenThereIsSpaceAndWhenItCloses) {
  FrameStore store = MakeStore(SmallConfig(), 2 * kSide * kSide * 2);
  int calls = 0;
  store.NotifyWhenSpace([&] { ++calls; });
  EXPECT_EQ(calls, 1);
  store.AddFrames(OwnedFrames({0, 1, 2}).batch, 0);
  store.NotifyWhenSpace([&] { ++calls; });
  EXPECT_EQ(calls, 1);
  store.Close();
  EXPECT_EQ(calls, 2);
}

TEST(FrameStore, WhatComesAfterTheEndIsCountedAsLate) {
  FrameStore store = MakeStore(SmallConfig());
  store.Close();
  store.AddFrames(OwnedFrames({0, 1}).batch, 0);
  store.AddPositions(Raster({0, 1, 2}).batch);
  EXPECT_EQ(Rejected(store.frame_counters(), Reject::kLate), 2);
  EXPECT_EQ(Rejected(store.position_counters(), Reject::kLate), 3);
  EXPECT_EQ(store.status().joined_points, 0);
}

TEST(FrameStore, ABatchThatContradictsTheSessionIsRefusedAsAWhole) {
  FrameStore store = MakeStore(SmallConfig());
  OwnedFrames wrong_shape({0, 1}, 8);
  store.AddFrames(wrong_shape.batch, 0);
  OwnedFrames wrong_type({0, 1});
  wrong_type.batch.dtype = DataType::kU8;
  store.AddFrames(wrong_type.batch, 0);
  OwnedFrames truncated({0, 1});
  truncated.batch.data = truncated.batch.data.Part(0, truncated.batch.data.size() - 1);
  store.AddFrames(truncated.batch, 0);
  const IngestCounters c = store.frame_counters();
  EXPECT_EQ(Rejected(c, Reject::kWrongShape), 2);
  EXPECT_EQ(Rejected(c, Reject::kWrongType), 2);
  EXPECT_EQ(Rejected(c, Reject::kCorrupt), 2);
  EXPECT_THAT(c.first_detail[static_cast<std::size_t>(Reject::kWrongShape)],
              ::testing::AllOf(::testing::HasSubstr("8 x 8"), ::testing::HasSubstr("16 x 16")));
  // The ids are not burnt: good data for them is still taken.
  EXPECT_EQ(store.AddFrames(OwnedFrames({0, 1}).batch, 0), 2);
  EXPECT_EQ(store.frame_counters().accepted, 2);
}

TEST(FrameStore, AFrameThatCannotBeDecodedGivesItsSlotBack) {
  ReconstructionConfig config = SmallConfig();
  config.scan.capacity = 2;
  FrameStore store = MakeStore(config);
  const std::vector<std::byte> garbage(40, std::byte{0xA5});
  const std::vector<std::uint32_t> sizes = {20, 20};
  FrameBatch bad;
  bad.frames = 2;
  bad.shape = {kSide, kSide};
  bad.encoding = Encoding::kLz4;
  bad.encoded_sizes = sizes;
  bad.data = garbage;
  EXPECT_EQ(store.AddFrames(bad, 0), 2);
  EXPECT_EQ(Rejected(store.frame_counters(), Reject::kCorrupt), 2);
  EXPECT_EQ(store.AddFrames(OwnedFrames({0, 1}).batch, 0), 2);
  EXPECT_EQ(store.frame_counters().accepted, 2);
}

TEST(FrameStore, ANonFinitePixelRefusesThatFrameOnly) {
  ReconstructionConfig config = SmallConfig();
  config.detector.dtype = DataType::kF32;
  FrameStore store = MakeStore(config);
  std::vector<float> pixels(3 * kSide * kSide, 1.0f);
  pixels[kSide * kSide + 7] = std::numeric_limits<float>::quiet_NaN();
  FrameBatch batch;
  batch.frames = 3;
  batch.dtype = DataType::kF32;
  batch.shape = {kSide, kSide};
  batch.data = std::as_bytes(std::span(pixels));
  EXPECT_EQ(store.AddFrames(batch, 0), 3);
  const IngestCounters c = store.frame_counters();
  EXPECT_EQ(c.accepted, 2);
  EXPECT_EQ(Rejected(c, Reject::kNonFinite), 1);
  EXPECT_EQ(c.first_rejected_id[static_cast<std::size_t>(Reject::kNonFinite)], 1);
}

TEST(FrameStore, PositionsThatCannotBeUsedAreRefusedAndNamed) {
  ReconstructionConfig config = SmallConfig();
  config.scan.bounds = ScanBounds{0, 1e-6, 0, 1e-6};
  FrameStore store = MakeStore(config);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  store.AddPositions(OwnedPositions({0, 1, 2}, {nan, 5e-6, 0.5e-6}, {0, 0.5e-6, 0.5e-6}).batch);
  const IngestCounters c = store.position_counters();
  EXPECT_EQ(Rejected(c, Reject::kNonFinite), 1);
  EXPECT_EQ(Rejected(c, Reject::kOutOfCanvas), 1);
  EXPECT_EQ(c.first_rejected_id[static_cast<std::size_t>(Reject::kOutOfCanvas)], 1);
  EXPECT_EQ(c.accepted, 1);
  EXPECT_EQ(c.clamped, 0);
}

TEST(FrameStore, ClampingIsDoneOnlyWhenAskedForAndIsCounted) {
  ReconstructionConfig config = SmallConfig();
  config.scan.bounds = ScanBounds{0, 1e-6, 0, 1e-6};
  config.scan.out_of_canvas = OutOfCanvas::kClamp;
  FrameStore store = MakeStore(config);
  store.AddPositions(OwnedPositions({0, 1}, {5e-6, 0.5e-6}, {0.5e-6, 0.5e-6}).batch);
  EXPECT_EQ(store.position_counters().accepted, 2);
  EXPECT_EQ(store.position_counters().clamped, 1);
}

TEST(FrameStore, FramesWithoutACountAreNoPoints) {
  FrameStore store = MakeStore(SmallConfig());
  OwnedFrames frames({0, 1});
  std::fill_n(frames.pixels.begin(), kSide * kSide, std::uint16_t{0});
  store.AddFrames(frames.batch, 0);
  store.AddPositions(Raster({0, 1}).batch);
  Load(store);
  const auto points = store.NewPoints();
  ASSERT_EQ(points.size(), 1u);
  EXPECT_EQ(points[0].frame_id, 1);
  EXPECT_EQ(store.status().empty_frames, 1);
  EXPECT_EQ(store.status().joined_points, 2);
}

TEST(FrameStore, AutoCentreHoldsTheFirstFramesBackAndLosesNone) {
  ReconstructionConfig config = SmallConfig(32);
  config.detector.auto_centre = AutoCentreConfig{.crop_shape = {16, 16}, .frames = 3};
  FrameStore store = MakeStore(config);
  OwnedFrames frames({0, 1, 2, 3}, 32);
  std::fill(frames.pixels.begin(), frames.pixels.end(), std::uint16_t{0});
  for (int f = 0; f < 4; ++f) {  // A spot of 3 x 3 around (20, 11).
    for (int y = 19; y <= 21; ++y) {
      for (int x = 10; x <= 12; ++x) {
        frames.pixels[static_cast<std::size_t>((f * 32 + y) * 32 + x)] = 100;
      }
    }
  }
  FrameBatch first = frames.batch;
  first.ids = first.ids.first(2);
  first.frames = 2;
  first.data = first.data.Part(0, 2 * 32 * 32 * 2);
  EXPECT_EQ(store.AddFrames(first, 0), 2);
  EXPECT_TRUE(store.TakeStaged().empty());
  EXPECT_EQ(store.status().staged_frames, 2);
  EXPECT_EQ(store.AddFrames(frames.batch, 2), 4);
  const auto staged = store.TakeStaged();
  ASSERT_EQ(staged.size(), 4u);
  for (const FrameToLoad& f : staged) {  // The spot's centre is at zero frequency.
    std::uint16_t corner;
    std::memcpy(&corner, f.pixels, sizeof corner);
    EXPECT_EQ(corner, 100);
  }
  store.ReleaseStaged(/*under_way=*/0);
  EXPECT_EQ(store.frame_counters().accepted, 4);
}

TEST(FrameStore, AutoCentreIsFixedByTheEndOfDataWhenFramesAreFew) {
  ReconstructionConfig config = SmallConfig(32);
  config.detector.auto_centre = AutoCentreConfig{.crop_shape = {16, 16}, .frames = 64};
  FrameStore store = MakeStore(config);
  store.AddFrames(OwnedFrames({0, 1}, 32).batch, 0);
  EXPECT_TRUE(store.TakeStaged().empty());
  store.Close();
  EXPECT_EQ(store.TakeStaged().size(), 2u);
}

TEST(FrameStore, EncoderSamplesBecomePositionsOfTheirFrames) {
  ReconstructionConfig config = SmallConfig();
  config.scan.encoder = EncoderConfig{.samples_per_frame = 2,
                                      .y_scale_m_per_count = kSmallPixel_m,
                                      .x_scale_m_per_count = kSmallPixel_m};
  FrameStore store = MakeStore(config);
  store.AddFrames(OwnedFrames({0, 1, 2}).batch, 0);
  Load(store);
  const std::vector<double> x = {8, 12}, y = {20, 24};
  ASSERT_TRUE(store.AddEncoderSamples({.first_sample = 2, .x_counts = x, .y_counts = y}).ok());
  const auto points = store.NewPoints();
  ASSERT_EQ(points.size(), 1u);
  EXPECT_EQ(points[0].frame_id, 1);
  EXPECT_EQ(points[0].window.col + kSide / 2, 10);
  EXPECT_EQ(points[0].window.row + kSide / 2, 22);
  EXPECT_EQ(store.status().frames_without_position, 2);
}

TEST(FrameStore, EncoderSamplesWithoutCalibrationAreAnError) {
  FrameStore store = MakeStore(SmallConfig());
  const std::vector<double> x = {1}, y = {1};
  EXPECT_EQ(store.AddEncoderSamples({.first_sample = 0, .x_counts = x, .y_counts = y}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(FrameStore, ManyThreadsLoseNothing) {
  ReconstructionConfig config = SmallConfig();
  config.scan.capacity = 4000;
  FrameStore store = MakeStore(config, 100 * kSide * kSide * 2);
  constexpr int kThreads = 4, kPerThread = 1000;
  std::atomic<int> writing = kThreads;
  std::vector<std::jthread> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([&, t] {
      for (int i = 0; i < kPerThread; i += 10) {
        std::vector<std::int64_t> ids(10);
        std::iota(ids.begin(), ids.end(), t * kPerThread + i);
        OwnedFrames frames(ids);
        for (int next = 0; next < 10;) next = store.AddFrames(frames.batch, next);
        store.AddPositions(Raster(ids).batch);
      }
      --writing;
    });
  }
  std::map<std::int64_t, int> seen;
  std::size_t points = 0;
  while (writing > 0 || store.status().staged_frames > 0) {
    Load(store);
    for (const auto& p : store.NewPoints()) ++seen[p.frame_id];
  }
  for (const auto& p : store.NewPoints()) ++seen[p.frame_id];
  for (const auto& [id, times] : seen) {
    EXPECT_EQ(times, 1) << id;
    ++points;
  }
  EXPECT_EQ(points, static_cast<std::size_t>(kThreads * kPerThread));
}

}  // namespace
}  // namespace ptychoserve
