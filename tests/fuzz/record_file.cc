// Files of records that have been damaged: each record that is still whole is read, in order, and
// nothing else is taken for one.
#include "engine/io/record_file.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "tests/fuzz/file_bytes.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/temporary_directory.h"

namespace ptychoserve {
namespace {

constexpr std::int64_t kFileHeaderBytes = 8, kRecordHeaderBytes = 40;
constexpr char kRecordMagic[] = "PSRC";

// A record as it was written.
struct Written {
  std::uint32_t kind = 0;
  std::string payload;
  std::string bytes;  // In the file.
};

// Writes some records to `path`; their numbers are those of the result.
std::vector<Written> WriteRecords(const std::string& path, FuzzInput* input) {
  auto writer = RecordWriter::Create(path);
  FUZZ_CHECK(writer.ok());
  std::vector<Written> all;
  std::vector<std::int64_t> ends = {writer->bytes()};
  for (int count = input->Below(8); count > 0; --count) {
    Written& record = all.emplace_back();
    record.kind = input->Byte();
    record.payload = input->Bytes(input->Byte());
    // A payload that holds a record would be another story.
    if (record.payload.find(kRecordMagic) != std::string::npos) record.payload.clear();
    FUZZ_CHECK(
        writer->Append(record.kind, all.size() - 1, std::as_bytes(std::span(record.payload))).ok());
    ends.push_back(writer->bytes());
  }
  const std::string bytes = ReadBytes(path);
  FUZZ_CHECK(static_cast<std::int64_t>(bytes.size()) == ends.back());
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].bytes = bytes.substr(static_cast<std::size_t>(ends[i]),
                                static_cast<std::size_t>(ends[i + 1] - ends[i]));
  }
  return all;
}

// Reads `path`, which holds `bytes`. All that is read must be of `written`, unless that is null.
void Read(const std::string& path, const std::string& bytes, const std::vector<Written>* written) {
  auto reader = RecordReader::Open(path);
  if (!reader.ok()) {
    FUZZ_CHECK(absl::IsDataLoss(reader.status()));
    return;
  }
  std::int64_t taken = kFileHeaderBytes;
  std::size_t next = 0;
  std::size_t end = 0;  // Of the last record. Erasing may put the next one's begin into its bytes.
  const auto skip_damaged = [&] {
    while (next < written->size() && bytes.find((*written)[next].bytes, end) == std::string::npos) {
      ++next;
    }
  };
  while (true) {
    const auto record = reader->Next();
    FUZZ_CHECK(record.ok());
    if (!record->has_value()) break;
    taken += kRecordHeaderBytes + static_cast<std::int64_t>((*record)->payload.size());
    if (written == nullptr) continue;
    skip_damaged();
    FUZZ_CHECK(next < written->size() && (*record)->sequence == next);
    const Written& expected = (*written)[next++];
    end = bytes.find(expected.bytes, end) + expected.bytes.size();
    FUZZ_CHECK((*record)->kind == expected.kind);
    FUZZ_CHECK((*record)->payload.size() == expected.payload.size());
    FUZZ_CHECK(expected.payload.empty() ||
               std::memcmp((*record)->payload.data(), expected.payload.data(),
                           expected.payload.size()) == 0);
  }
  if (written != nullptr) {
    skip_damaged();
    FUZZ_CHECK(next == written->size());
  }
  FUZZ_CHECK(taken + reader->lost_bytes() == static_cast<std::int64_t>(bytes.size()));
}

}  // namespace
}  // namespace ptychoserve

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  static const TemporaryDirectory directory;
  static const std::string path = directory.path() + "/a.rec";
  FuzzInput input(data, size);
  if (input.Flag()) {
    const std::vector<Written> written = WriteRecords(path, &input);
    std::string bytes = ReadBytes(path);
    Damage(&input, &bytes);
    WriteBytes(path, bytes);
    Read(path, bytes, &written);
  } else {
    const std::string bytes = input.Rest();
    WriteBytes(path, bytes);
    Read(path, bytes, nullptr);
  }
  return 0;
}
