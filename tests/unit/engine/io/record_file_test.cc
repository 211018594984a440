#include "engine/io/record_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "engine/io/payload_hash.h"

namespace ptychoserve {
namespace {

struct Read {
  std::vector<std::string> payloads;
  std::vector<std::uint64_t> sequences;
  std::int64_t lost_bytes = 0;
};

std::string PathOf(const std::string& name) { return testing::TempDir() + "/" + name; }

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

Read ReadAll(const std::string& path) {
  Read all;
  auto reader = RecordReader::Open(path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  while (true) {
    const auto record = reader->Next();
    EXPECT_TRUE(record.ok()) << record.status();
    if (!record->has_value()) break;
    all.payloads.emplace_back(reinterpret_cast<const char*>((*record)->payload.data()),
                              (*record)->payload.size());
    all.sequences.push_back((*record)->sequence);
  }
  all.lost_bytes = reader->lost_bytes();
  return all;
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void Overwrite(const std::string& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << contents;
}

// Three records, the last of 0 bytes.
std::string Sample(const std::string& name) {
  const std::string path = PathOf(name);
  auto writer = RecordWriter::Create(path);
  EXPECT_TRUE(writer.ok()) << writer.status();
  const std::string a = "one", b = " record", c(1000, 'x');
  const std::span<const std::byte> pieces[] = {Bytes(a), {}, Bytes(b)};
  EXPECT_TRUE(writer->Append(1, 10, pieces, PayloadHash(pieces)).ok());
  EXPECT_TRUE(writer->Append(2, 11, Bytes(c)).ok());
  EXPECT_TRUE(writer->Append(3, 12, std::span<const std::byte>()).ok());
  EXPECT_TRUE(writer->Sync().ok());
  EXPECT_EQ(writer->bytes(), static_cast<std::int64_t>(std::filesystem::file_size(path)));
  return path;
}

TEST(RecordFile, GivesBackWhatWasWritten) {
  const Read read = ReadAll(Sample("whole.rec"));
  EXPECT_THAT(read.payloads, testing::ElementsAre("one record", std::string(1000, 'x'), ""));
  EXPECT_THAT(read.sequences, testing::ElementsAre(10, 11, 12));
  EXPECT_EQ(read.lost_bytes, 0);
}

TEST(RecordFile, ATornEndLosesOnlyItself) {
  const std::string path = Sample("torn.rec");
  const std::string whole = Contents(path);
  const std::size_t first_end = 8 + 40 + 10, second_end = first_end + 40 + 1000;
  for (std::size_t size = 8; size < whole.size(); ++size) {
    Overwrite(path, whole.substr(0, size));
    const Read read = ReadAll(path);
    const std::size_t records = size < first_end ? 0 : size < second_end ? 1 : 2;
    const std::size_t end = records == 0 ? 8 : records == 1 ? first_end : second_end;
    ASSERT_EQ(read.payloads.size(), records) << size;
    ASSERT_EQ(read.lost_bytes, static_cast<std::int64_t>(size - end)) << size;
  }
}

TEST(RecordFile, ADamagedByteCostsOneRecordAtMost) {
  const std::string path = Sample("damaged.rec");
  const std::string whole = Contents(path);
  std::mt19937 random(3);
  for (std::size_t at = 8; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    Overwrite(path, damaged);
    const Read read = ReadAll(path);
    ASSERT_EQ(read.payloads.size(), 2u) << at;
    for (const std::string& payload : read.payloads) {
      ASSERT_THAT(payload, testing::AnyOf("one record", std::string(1000, 'x'), "")) << at;
    }
  }
}

TEST(RecordFile, RefusesOtherFiles) {
  const std::string path = PathOf("other.rec");
  for (const char* text : {"", "PSRECS", "something else"}) {
    Overwrite(path, text);
    EXPECT_EQ(RecordReader::Open(path).status().code(), absl::StatusCode::kDataLoss) << text;
  }
  EXPECT_EQ(RecordReader::Open(PathOf("absent.rec")).status().code(), absl::StatusCode::kNotFound);
}

TEST(RecordFile, ReplacesAsAWhole) {
  const std::string path = Sample("replaced.rec");
  const std::string text = "new";
  const Record record{7, 1, Bytes(text)};
  ASSERT_TRUE(ReplaceRecordFile(path, std::span(&record, 1)).ok());
  EXPECT_THAT(ReadAll(path).payloads, testing::ElementsAre("new"));
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
  EXPECT_FALSE(ReplaceRecordFile(PathOf("no/such/folder.rec"), std::span(&record, 1)).ok());
}

}  // namespace
}  // namespace ptychoserve
