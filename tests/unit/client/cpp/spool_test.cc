#include "client/cpp/internal/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "tests/temporary_directory.h"

namespace ptychoserve::client::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SpoolTest : public ::testing::Test {
 protected:
  SpoolOptions Options() const {
    return {.directory = directory_.path(), .name = "s-p.frames", .format = "bytes"};
  }
  std::unique_ptr<Spool> Open() { return Open(Options()); }
  std::unique_ptr<Spool> Open(const SpoolOptions& options) {
    auto spool = Spool::Open(options);
    EXPECT_TRUE(spool.ok()) << spool.status();
    return spool.ok() ? *std::move(spool) : nullptr;
  }
  static absl::StatusOr<Spool::Ticket> Append(Spool& spool, std::int64_t id,
                                              const std::string& payload) {
    return spool.Append(1, id, std::as_bytes(std::span(payload)));
  }
  static std::vector<std::int64_t> ReadAll(Spool& spool) {
    std::vector<std::int64_t> ids;
    while (spool.unread() > 0) {
      const Spool::Read read = spool.Next();
      ids.push_back(read.record.has_value() ? read.record->id : -1);
    }
    return ids;
  }
  std::string PathOf(int number) const {
    return directory_.path() + "/s-p.frames.0000000" + std::to_string(number) + ".spool";
  }

  TemporaryDirectory directory_;
};

TEST_F(SpoolTest, GivesBackWhatItWasGivenInOrderAndGoesWhenItIsReleased) {
  const auto spool = Open();
  EXPECT_THAT(directory_.Files(), IsEmpty());
  for (const int id : {4, 7, 5}) {
    EXPECT_TRUE(Append(*spool, id, std::string(static_cast<std::size_t>(id), 'x')).ok());
  }
  EXPECT_THAT(directory_.Files(), ElementsAre("s-p.frames.00000001.spool"));
  EXPECT_EQ(spool->unread(), 3u);
  for (const int id : {4, 7, 5}) {
    EXPECT_EQ(spool->next_bytes(), static_cast<std::size_t>(id));
    const Spool::Read read = spool->Next();
    ASSERT_TRUE(read.record.has_value());
    EXPECT_EQ(read.record->kind, 1u);
    EXPECT_EQ(read.record->id, id);
    EXPECT_EQ(read.record->payload, std::string(static_cast<std::size_t>(id), 'x'));
    EXPECT_FALSE(read.inherited);
    EXPECT_THAT(directory_.Files(), SizeIs(1));
    spool->Release(read.ticket);
  }
  EXPECT_THAT(directory_.Files(), IsEmpty());
  EXPECT_EQ(spool->bytes(), 0u);
}

TEST_F(SpoolTest, IsThereForTheNextOne) {
  {
    const auto spool = Open();
    for (int id = 0; id < 4; ++id) EXPECT_TRUE(Append(*spool, id, "pixels").ok());
    spool->Release(spool->Next().ticket);
    EXPECT_TRUE(spool->Next().record.has_value());  // Not released.
    EXPECT_EQ(spool->held(), 3u);
  }
  const auto spool = Open();
  EXPECT_TRUE(Append(*spool, 9, "new").ok());
  EXPECT_EQ(spool->torn(), 0u);
  EXPECT_THAT(directory_.Files(), SizeIs(2));
  const Spool::Read first = spool->Next();
  EXPECT_TRUE(first.inherited);
  EXPECT_EQ(first.record->id, 0) << "files go as a whole";
  EXPECT_THAT(ReadAll(*spool), ElementsAre(1, 2, 3, 9));
  for (int k = 0; k < 4; ++k) spool->Release(first.ticket);
  EXPECT_THAT(directory_.Files(), ElementsAre("s-p.frames.00000002.spool"));
}

TEST_F(SpoolTest, ARecordThatWasTakenAsReadIsHeldAllTheSame) {
  {
    const auto spool = Open();
    EXPECT_TRUE(Append(*spool, 1, "a").ok());
    spool->SkipLast();
    EXPECT_EQ(spool->unread(), 0u);
  }
  EXPECT_THAT(ReadAll(*Open()), ElementsAre(1));
}

TEST_F(SpoolTest, WhereverTheLastRecordIsTornTheOthersAreThere) {
  {
    const auto spool = Open();
    for (int id = 0; id < 3; ++id) EXPECT_TRUE(Append(*spool, id, "pixels").ok());
  }
  const std::uintmax_t record = 40 + 6;
  const std::uintmax_t size = std::filesystem::file_size(PathOf(1));
  for (std::uintmax_t cut = 1; cut < record; ++cut) {
    std::filesystem::resize_file(PathOf(1), size - cut);
    const auto spool = Open();
    EXPECT_EQ(spool->torn(), 1u) << cut;
    EXPECT_THAT(ReadAll(*spool), ElementsAre(0, 1)) << cut;
  }
  std::filesystem::resize_file(PathOf(1), 20);  // Not even its own header.
  EXPECT_EQ(Open()->unread(), 0u);
  EXPECT_THAT(directory_.Files(), IsEmpty());
}

TEST_F(SpoolTest, ADamagedRecordIsToldAndTheOthersAreThere) {
  {
    const auto spool = Open();
    for (int id = 0; id < 3; ++id) EXPECT_TRUE(Append(*spool, id, "pixels").ok());
  }
  {
    std::fstream file(PathOf(1), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-(40 + 6) - 1, std::ios::end);
    file.put('X');  // In the payload of the second record.
  }
  EXPECT_THAT(ReadAll(*Open()), ElementsAre(0, -1, 2));
}

TEST_F(SpoolTest, IsBoundedAndFilesThatWereReleasedMakeRoom) {
  SpoolOptions options = Options();
  options.max_bytes = 16'000;
  const auto spool = Open(options);
  const std::string payload(460, 'x');
  absl::Status full;
  int written = 0;
  for (; full.ok(); ++written) full = Append(*spool, written, payload).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("of 16000 bytes"));
  EXPECT_GE(written, 28);
  EXPECT_LE(spool->bytes(), options.max_bytes);
  EXPECT_GE(directory_.Files().size(), 10u);
  const Spool::Ticket first = spool->Next().ticket;
  spool->Release(first);
  while (spool->unread() > 0) {
    const Spool::Read read = spool->Next();
    if (read.ticket != first) break;
    spool->Release(first);
  }
  EXPECT_TRUE(Append(*spool, 0, payload).ok());
}

TEST_F(SpoolTest, RefusesASecondOneOfTheSameNameAndOneOfAnotherFormat) {
  {
    const auto spool = Open();
    EXPECT_TRUE(Append(*spool, 0, "pixels").ok());
    const absl::Status second = Spool::Open(Options()).status();
    EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(second.message()), HasSubstr("in use"));
  }
  SpoolOptions options = Options();
  options.format = "words";
  const absl::Status other = Spool::Open(options).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.message()), HasSubstr("'bytes', not 'words'"));
  EXPECT_THAT(ReadAll(*Open()), ElementsAre(0)) << "nothing was removed";
}

TEST_F(SpoolTest, SaysWhyADirectoryCannotBeUsed) {
  SpoolOptions options = Options();
  options.directory = "/dev/null/spool";
  EXPECT_THAT(std::string(Spool::Open(options).status().message()), HasSubstr("/dev/null/spool"));
}

}  // namespace
}  // namespace ptychoserve::client::internal
