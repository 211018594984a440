// The client's spool, of which a file has been damaged: what is read was appended, in order, and
// all of it up to the damage.
#include "client/cpp/internal/spool.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/fuzz/file_bytes.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/temporary_directory.h"

namespace ptychoserve::client::internal {
namespace {

constexpr std::size_t kHeaderBytes = 40;
constexpr char kMagic[] = "PSPL";  // "PSPL" in a payload would be another story.
constexpr char kFormat[] = "fuzz";

// A record as it was appended, with its index as its id.
struct Appended {
  std::uint32_t kind = 0;
  std::string payload;
  std::size_t file = 0;  // Index of the file,
  std::size_t end = 0;   // and where it ends in there.
};

SpoolOptions Options(const std::string& directory, std::uint64_t file_bytes) {
  constexpr std::uint64_t kFilesOfBound = 16;
  return {.directory = directory,
          .name = "p",
          .format = kFormat,
          .max_bytes = file_bytes * kFilesOfBound};
}

std::vector<Appended> AppendRecords(const SpoolOptions& options, FuzzInput* input) {
  std::vector<Appended> all;
  const auto spool = Spool::Open(options);
  FUZZ_CHECK(spool.ok());
  Spool::Ticket first = Spool::kNoTicket, last = Spool::kNoTicket;
  std::size_t end = 0;
  for (int count = input->Below(8); count > 0; --count) {
    Appended record{.kind = input->Byte(), .payload = input->Bytes(input->Byte())};
    if (record.payload.find(kMagic) != std::string::npos) record.payload.clear();
    const auto ticket = (*spool)->Append(record.kind, static_cast<std::int64_t>(all.size()),
                                         std::as_bytes(std::span(record.payload)));
    FUZZ_CHECK(ticket.ok());
    if (all.empty()) first = *ticket;
    if (*ticket != last) end = kHeaderBytes + sizeof(kFormat) - 1;
    last = *ticket;
    end += kHeaderBytes + record.payload.size();
    record.file = static_cast<std::size_t>(last - first);
    record.end = end;
    all.push_back(std::move(record));
  }
  FUZZ_CHECK((*spool)->held() == all.size());
  return all;
}

// Reads all there is, all of it of `appended`, and releases it. `damaged` is the index of the file
// of which the first `good` bytes are as they were.
void ReadRecords(Spool& spool, const std::vector<Appended>& appended, std::size_t damaged,
                 std::size_t good) {
  std::size_t next = 0;
  const auto may_be_lost = [&](const Appended& record) {
    return record.file == damaged && record.end > good;
  };
  while (spool.unread() > 0) {
    const std::size_t bytes = spool.next_bytes();
    const Spool::Read read = spool.Next();
    FUZZ_CHECK(read.inherited);
    if (!read.record) continue;
    FUZZ_CHECK(read.record->payload.size() == bytes);
    const auto id = static_cast<std::size_t>(read.record->id);
    for (; next < id && next < appended.size(); ++next) FUZZ_CHECK(may_be_lost(appended[next]));
    FUZZ_CHECK(id == next && next < appended.size());
    FUZZ_CHECK(read.record->kind == appended[next].kind);
    FUZZ_CHECK(read.record->payload == appended[next].payload);
    ++next;
    spool.Release(read.ticket);
  }
  for (; next < appended.size(); ++next) FUZZ_CHECK(may_be_lost(appended[next]));
  FUZZ_CHECK(spool.held() == 0);
}

}  // namespace
}  // namespace ptychoserve::client::internal

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  using namespace ptychoserve::client::internal;
  static const TemporaryDirectory directory;
  FuzzInput input(data, size);
  const SpoolOptions options = Options(directory.path(), 256 << input.Below(4));
  const std::vector<Appended> appended = AppendRecords(options, &input);

  const std::vector<std::string> files = directory.Files();
  std::size_t damaged = 0, good = 0;
  if (!files.empty()) {
    damaged = input.Byte() % files.size();
    const std::string path = directory.path() + "/" + files[damaged];
    std::string bytes = ReadBytes(path);
    good = Damage(&input, &bytes);
    WriteBytes(path, bytes);
  }
  if (const auto spool = Spool::Open(options); spool.ok()) {
    ReadRecords(**spool, appended, damaged, good);
  } else {
    FUZZ_CHECK(absl::IsFailedPrecondition(spool.status()));
    for (const std::string& file : directory.Files()) {
      std::filesystem::remove(directory.path() + "/" + file);
    }
  }
  FUZZ_CHECK(directory.Files().empty());
  return 0;
}
