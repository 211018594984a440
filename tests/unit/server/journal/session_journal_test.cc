#include "server/journal/session_journal.h"

#include <gmock/gmock.h>
#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "engine/io/record_file.h"

namespace ptychoserve::server {
namespace {

constexpr std::chrono::seconds kPatience{20};
constexpr int kThreads = 2;

grpc::ByteBuffer Message(const std::string& text) {
  const grpc::Slice pieces[] = {grpc::Slice(text.substr(0, text.size() / 2)),
                                grpc::Slice(text.substr(text.size() / 2))};
  return grpc::ByteBuffer(pieces, 2);
}

class SessionJournalTest : public testing::Test {
 protected:
  SessionJournalTest() {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }

  ~SessionJournalTest() override { std::filesystem::remove_all(directory_); }

  std::shared_ptr<SessionJournal> Make(int segment = 1) {
    return std::make_shared<SessionJournal>(directory_, segment, pool_, [] {});
  }

  static absl::Status Await(SessionJournal& journal, std::uint64_t sequence) {
    std::promise<absl::Status> done;
    journal.WhenDurable(sequence, [&](absl::Status status) { done.set_value(std::move(status)); });
    return done.get_future().get();
  }

  // Texts of all records, in the order of files and records.
  std::vector<std::string> Written() const {
    std::vector<std::string> files, texts;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      files.push_back(entry.path().string());
    }
    std::ranges::sort(files);
    for (const std::string& file : files) {
      auto reader = RecordReader::Open(file);
      EXPECT_TRUE(reader.ok()) << reader.status();
      for (auto record = reader->Next(); record.ok() && record->has_value();
           record = reader->Next()) {
        texts.emplace_back(reinterpret_cast<const char*>((*record)->payload.data()),
                           (*record)->payload.size());
      }
    }
    return texts;
  }

  // Tests run side by side, in processes of their own.
  const std::string directory_ = testing::TempDir() + "/journal_" +
                                 testing::UnitTest::GetInstance()->current_test_info()->name();
  WorkerPool pool_{kThreads};
};

TEST_F(SessionJournalTest, WritesInOrderAndTellsWhatIsOnDisk) {
  const auto journal = Make();
  EXPECT_EQ(journal->durable_sequence(), 0u);
  std::vector<std::string> expected;
  for (int i = 0; i < 500; ++i) {
    expected.push_back("message " + std::to_string(i));
    EXPECT_EQ(journal->Append(RecordKind::kFrames, Message(expected.back()), {{2 * i, 2 * i}}),
              static_cast<std::uint64_t>(i + 1));
  }
  EXPECT_EQ(journal->last_sequence(), 500u);
  ASSERT_TRUE(Await(*journal, 500).ok());
  EXPECT_EQ(journal->durable_sequence(), 500u);
  EXPECT_EQ(Written(), expected);
  EXPECT_FALSE(journal->lost());
  EXPECT_EQ(journal->durable_watermark(RecordKind::kFrames, 0), 0);
  EXPECT_EQ(journal->durable_watermark(RecordKind::kPositions, 0), -1);
  const auto last = journal->Append(RecordKind::kFrames, Message("the odd ones"), {{0, 997}});
  ASSERT_TRUE(Await(*journal, last).ok());
  EXPECT_EQ(journal->durable_watermark(RecordKind::kFrames, 0), 998);
}

TEST_F(SessionJournalTest, LargeGroupsAreWrittenSideBySide) {
  const auto journal = Make();
  const std::string large(1 << 20, 'x');
  std::uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    last = journal->Append(RecordKind::kFrames, Message(large), {{i, i}});
  }
  ASSERT_TRUE(Await(*journal, last).ok());
  EXPECT_EQ(Written().size(), 100u);
  EXPECT_EQ(journal->durable_watermark(RecordKind::kFrames, 0), 99);
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory_)) {
    ++files;
  }
  EXPECT_GT(files, 1u);
  EXPECT_LE(files, static_cast<std::size_t>(SessionJournal::kLanes));
}

TEST_F(SessionJournalTest, GoesOnWhereAnEarlierOneEnded) {
  auto journal = Make();
  ASSERT_TRUE(Await(*journal, journal->Append(RecordKind::kEvent, Message("before"), {})).ok());
  journal = Make(2);
  journal->NoteReplayed(RecordKind::kFrames, 1, {{0, 4}});
  EXPECT_EQ(journal->durable_sequence(), 1u);
  EXPECT_EQ(journal->durable_watermark(RecordKind::kFrames, 0), 4);
  ASSERT_TRUE(Await(*journal, journal->Append(RecordKind::kEvent, Message("after"), {})).ok());
  EXPECT_EQ(journal->durable_sequence(), 2u);
  EXPECT_THAT(Written(), testing::ElementsAre("before", "after"));
}

TEST_F(SessionJournalTest, SaysThatItCannotWriteAndGoesOnWhenItCan) {
  std::filesystem::remove_all(directory_);
  const auto journal = Make();
  const std::uint64_t first = journal->Append(RecordKind::kFrames, Message("early"), {{0, 0}});
  EXPECT_FALSE(Await(*journal, first).ok());
  EXPECT_TRUE(journal->lost());
  EXPECT_THAT(journal->failure(), testing::HasSubstr(directory_));
  EXPECT_EQ(journal->durable_watermark(RecordKind::kFrames, 0), -1);
  EXPECT_FALSE(journal->full());  // Input is not held back for a disk that does not come.
  journal->Append(RecordKind::kFrames, Message("late"), {{1, 1}});
  std::filesystem::create_directories(directory_);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (journal->durable_sequence() < 2 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(journal->durable_sequence(), 2u);
  EXPECT_FALSE(journal->lost());
  EXPECT_THAT(Written(), testing::ElementsAre("early", "late"));
}

TEST_F(SessionJournalTest, LeavesOutWhatWouldFillTheMemoryAndNeverClaimsIt) {
  std::filesystem::remove_all(directory_);
  const auto journal = Make();
  EXPECT_FALSE(Await(*journal, journal->Append(RecordKind::kFrames, Message("a"), {{0, 0}})).ok());
  const std::string large(64 << 20, 'x');
  const std::int64_t fit = SessionJournal::kMaxQueueBytes / static_cast<std::int64_t>(large.size());
  const grpc::ByteBuffer message = Message(large);  // Shared: nothing is copied.
  std::int64_t id = 1;
  for (; id <= fit; ++id) journal->Append(RecordKind::kFrames, message, {{id, id}});
  EXPECT_EQ(journal->dropped_records(), 1);
  std::filesystem::create_directories(directory_);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!journal->failure().empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const std::uint64_t last = journal->Append(RecordKind::kFrames, Message("z"), {{id, id}});
  EXPECT_FALSE(Await(*journal, last).ok());
  EXPECT_TRUE(journal->lost());
  while (Written().empty() || Written().back() != "z") {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_LT(journal->durable_sequence(), last);
  EXPECT_LT(journal->durable_watermark(RecordKind::kFrames, 0), fit);
}

// A session of the same name may follow at once; it would take what is written late for its own.
TEST_F(SessionJournalTest, WritesNothingMoreOnceAbandonedAndSaysWhenTheDirectoryIsFree) {
  const auto journal = Make();
  std::promise<void> go;
  const std::shared_future<void> gone = go.get_future().share();
  for (int thread = 0; thread < kThreads; ++thread) pool_.Post([gone] { gone.wait(); });
  journal->Append(RecordKind::kFrames, Message("a"), {{0, 0}});  // Is about to be written.
  std::promise<void> idle;
  std::future<void> idled = idle.get_future();
  journal->Abandon([&] { idle.set_value(); });
  EXPECT_EQ(idled.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  go.set_value();
  ASSERT_EQ(idled.wait_for(kPatience), std::future_status::ready);
  EXPECT_THAT(Written(), testing::IsEmpty());
}

}  // namespace
}  // namespace ptychoserve::server
