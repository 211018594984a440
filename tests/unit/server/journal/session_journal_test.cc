#include "server/journal/session_journal.h"

#include <gmock/gmock.h>
#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "engine/io/record_file.h"
#include "server/journal/journal_reader.h"
#include "server/journal/session_files.h"

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

  // Numbers of the records as a replay takes them.
  std::vector<std::uint64_t> Replayed() const {
    std::vector<std::uint64_t> sequences;
    JournalReader reader(SessionFiles(directory_).JournalSegments(), "a");
    while (const auto record = reader.Next()) sequences.push_back(record->sequence);
    EXPECT_EQ(reader.lost_bytes(), 0);
    return sequences;
  }

  template <class Condition>
  static bool Comes(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return condition();
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

TEST_F(SessionJournalTest, MuchAtOnceIsWrittenSideBySide) {
  const auto journal = Make();
  const std::string large(1 << 20, 'x');
  std::uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    last = journal->Append(RecordKind::kFrames, Message(large), {{i, i}});
  }
  ASSERT_TRUE(Await(*journal, last).ok());
  EXPECT_EQ(Written().size(), 100u);
  EXPECT_EQ(journal->durable_watermark(RecordKind::kFrames, 0), 99);
  const auto segments = SessionFiles(directory_).JournalSegments();
  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments.front().size(), std::size_t{kThreads});
}

// A machine with more cores, or with fewer, may take the session up.
TEST_F(SessionJournalTest, IsReadInOrderWhateverTheNumberOfThreads) {
  const grpc::ByteBuffer message = Message(std::string(3 << 20, 'x'));
  std::uint64_t last = 0;
  int segment = 0;
  for (const int threads : {5, 1, 3}) {
    WorkerPool pool(threads);
    const auto journal = std::make_shared<SessionJournal>(directory_, ++segment, pool, [] {});
    if (last > 0) journal->NoteReplayed(RecordKind::kFrames, last, {});
    for (int i = 0; i < 30; ++i) last = journal->Append(RecordKind::kFrames, message, {{i, i}});
    ASSERT_TRUE(Await(*journal, last).ok());
  }
  const auto segments = SessionFiles(directory_).JournalSegments();
  ASSERT_EQ(segments.size(), 3u);
  EXPECT_GT(segments[0].size(), 1u);
  EXPECT_EQ(segments[1].size(), 1u);
  std::vector<std::uint64_t> expected(90);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_EQ(Replayed(), expected);
}

TEST_F(SessionJournalTest, ALaterPartThatIsOnDiskFirstIsNotCalledDurableBeforeTheOthers) {
  // The first part's file takes nothing before somebody reads it, and cannot be synchronised.
  const std::string stuck = directory_ + "/input-000001-0.rec";
  ASSERT_EQ(mkfifo(stuck.c_str(), 0600), 0);
  const auto journal = Make();
  const grpc::ByteBuffer message = Message(std::string(SessionJournal::kLeastPartBytes, 'x'));
  for (int i = 0; i < 3; ++i) journal->Append(RecordKind::kFrames, message, {{i, i}});
  EXPECT_TRUE(Comes([&] { return journal->durable_watermark(RecordKind::kFrames, 2) == 2; }));
  EXPECT_EQ(journal->durable_watermark(RecordKind::kFrames, 0), -1);
  EXPECT_EQ(journal->durable_sequence(), 0u);
  EXPECT_FALSE(journal->lost());

  std::future<absl::Status> waited =
      std::async(std::launch::async, [&] { return Await(*journal, 3); });
  std::ifstream reader(stuck, std::ios::binary);
  const std::string read{std::istreambuf_iterator<char>(reader), {}};
  EXPECT_GT(read.size(), static_cast<std::size_t>(SessionJournal::kLeastPartBytes));
  EXPECT_FALSE(waited.get().ok());
  EXPECT_TRUE(journal->lost());
  EXPECT_EQ(journal->durable_sequence(), 0u);
  // It is written again, and is what was missing.
  EXPECT_TRUE(Comes([&] { return journal->durable_sequence() == 3; }));
  EXPECT_FALSE(journal->lost());
  EXPECT_EQ(journal->durable_watermark(RecordKind::kFrames, 0), 2);
  EXPECT_THAT(Replayed(), testing::UnorderedElementsAre(1, 2, 3));
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

// After an error a record may be in a later file than those after it.
TEST_F(SessionJournalTest, NumbersGoOnAfterTheLargestThatWasReplayed) {
  const auto journal = Make();
  for (const std::uint64_t sequence : {2u, 3u, 1u}) {
    journal->NoteReplayed(RecordKind::kFrames, sequence, {});
  }
  EXPECT_EQ(journal->durable_sequence(), 3u);
  EXPECT_EQ(journal->Append(RecordKind::kFrames, Message("a"), {}), 4u);
  EXPECT_TRUE(Await(*journal, 4).ok());
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
  EXPECT_TRUE(Comes([&] { return journal->durable_sequence() == 2; }));
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
  EXPECT_TRUE(Comes([&] { return journal->failure().empty(); }));
  const std::uint64_t last = journal->Append(RecordKind::kFrames, Message("z"), {{id, id}});
  EXPECT_FALSE(Await(*journal, last).ok());
  EXPECT_TRUE(journal->lost());
  EXPECT_TRUE(Comes([&] { return journal->durable_watermark(RecordKind::kFrames, id) == id; }));
  EXPECT_THAT(Written(), testing::Contains("z"));
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
