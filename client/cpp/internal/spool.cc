#include "client/cpp/internal/spool.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/io/record_header.h"

namespace ptychoserve::client::internal {
namespace {

constexpr std::uint32_t kMagic = 0x4c505350;         // "PSPL".
constexpr std::uint32_t kFormatRecord = 0xffffffff;  // Kind of the first record: the format.
constexpr char kSuffix[] = ".spool";
constexpr int kNumberDigits = 8;
// Files are closed at a sixteenth of the bound, so that what was released makes room soon.
constexpr std::uint64_t kFilesOfBound = 16;
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{256} << 20;

absl::Status Failed(const std::string& path, const char* what) {
  const int error = errno;
  const std::string words =
      absl::StrCat("spool: ", path, ": ", what, ": ", std::generic_category().message(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(words);
  return absl::UnavailableError(words);
}

// All of it, whatever pieces the system takes; `transfer` is pread or pwrite.
template <class Byte, class Transfer>
bool TransferAll(Transfer transfer, int fd, std::uint64_t offset, std::span<Byte> data) {
  while (!data.empty()) {
    const ssize_t n = transfer(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data = data.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return true;
}

bool WriteAll(int fd, std::uint64_t offset, std::span<const std::byte> data) {
  return TransferAll(pwrite, fd, offset, data);
}
bool ReadAll(int fd, std::uint64_t offset, std::span<std::byte> data) {
  return TransferAll(pread, fd, offset, data);
}

bool ReadHeader(int fd, std::uint64_t offset, RecordHeader& header) {
  return ReadAll(fd, offset, std::as_writable_bytes(std::span(&header, 1))) &&
         header.IsWhole(kMagic);
}

// Writes a record at `offset`, its header last: what is torn has none.
bool WriteRecord(int fd, std::uint64_t offset, std::uint32_t kind, std::int64_t id,
                 std::span<const std::byte> payload) {
  RecordHeader header{.magic = kMagic,
                      .kind = kind,
                      .sequence = static_cast<std::uint64_t>(id),
                      .bytes = payload.size()};
  header.payload_hash = XXH3_64bits(payload.data(), payload.size());
  header.header_hash = header.Hash();
  return WriteAll(fd, offset + sizeof(header), payload) &&
         WriteAll(fd, offset, std::as_bytes(std::span(&header, 1)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(SpoolOptions options) {
  std::error_code error;
  std::filesystem::create_directories(options.directory, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("spool: ", options.directory, ": ", error.message()));
  }
  std::unique_ptr<Spool> spool(new Spool(std::move(options)));
  PS_RETURN_IF_ERROR(spool->Inherit());
  return spool;
}

Spool::~Spool() {
  RemoveEmptyFiles();
  for (const File& file : files_) close(file.fd);
}

absl::Status Spool::Inherit() {
  const std::string prefix = absl::StrCat(options_.name, ".");
  std::map<std::uint64_t, std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(options_.directory, error), end;
       !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    std::uint64_t number = 0;
    if (absl::StartsWith(name, prefix) && absl::EndsWith(name, kSuffix) &&
        name.size() == prefix.size() + kNumberDigits + sizeof(kSuffix) - 1 &&
        absl::SimpleAtoi(name.substr(prefix.size(), kNumberDigits), &number)) {
      found[number] = entry->path();
    }
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("spool: ", options_.directory, ": ", error.message()));
  }
  for (const auto& [number, path] : found) PS_RETURN_IF_ERROR(InheritFile(number, path));
  RemoveEmptyFiles();
  return absl::OkStatus();
}

absl::Status Spool::InheritFile(std::uint64_t number, const std::string& path) {
  File& file = files_.emplace_back();
  file.number = number;
  file.path = path;
  file.inherited = true;
  file.fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file.fd < 0) {
    files_.pop_back();
    return Failed(path, "open");
  }
  next_number_ = number + 1;
  if (flock(file.fd, LOCK_EX | LOCK_NB) != 0) {
    file.held = 1;  // Not ours to remove.
    return absl::FailedPreconditionError(
        absl::StrCat("spool: ", path, " is in use by another writer of the same producer"));
  }
  return Scan(file);
}

absl::Status Spool::Scan(File& file) {
  struct stat info;
  if (fstat(file.fd, &info) != 0) return Failed(file.path, "stat");
  const auto size = static_cast<std::uint64_t>(info.st_size);
  std::uint64_t at = 0;
  RecordHeader header;
  while (at + sizeof(RecordHeader) <= size && ReadHeader(file.fd, at, header) &&
         header.bytes <= size - at - sizeof(RecordHeader)) {
    const std::uint64_t payload = at + sizeof(RecordHeader);
    if (at == 0) {
      std::string format(header.bytes, '\0');
      if (header.kind != kFormatRecord ||
          !ReadAll(file.fd, payload, std::as_writable_bytes(std::span(format))) ||
          format != options_.format) {
        file.held = 1;  // Not ours to remove.
        return absl::FailedPreconditionError(absl::StrCat("spool: ", file.path, " holds '", format,
                                                          "', not '", options_.format, "'"));
      }
    } else {
      file.unread.push_back({at, header.bytes});
    }
    at = payload + header.bytes;
  }
  if (at > 0 && at < size) ++torn_;
  file.end = size;  // Nothing is appended to it.
  file.held = file.unread.size();
  unread_ += file.held;
  bytes_ += file.end;
  return absl::OkStatus();
}

absl::Status Spool::AddFile() {
  File file;
  file.number = next_number_++;
  file.path = absl::StrCat(options_.directory, "/", options_.name,
                           absl::StrFormat(".%0*d", kNumberDigits, file.number), kSuffix);
  file.fd = open(file.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file.fd < 0) return Failed(file.path, "create");
  const std::span<const char> format(options_.format);
  if (flock(file.fd, LOCK_EX | LOCK_NB) != 0 ||
      !WriteRecord(file.fd, 0, kFormatRecord, 0, std::as_bytes(format))) {
    const absl::Status failed = Failed(file.path, "write");
    unlink(file.path.c_str());
    close(file.fd);
    return failed;
  }
  file.end = sizeof(RecordHeader) + format.size();
  bytes_ += file.end;
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::StatusOr<Spool::Ticket> Spool::Append(std::uint32_t kind, std::int64_t id,
                                            std::span<const std::byte> payload) {
  const std::uint64_t bytes = sizeof(RecordHeader) + payload.size();
  if (bytes_ + bytes > options_.max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("the spool is full: ", bytes_, " of ",
                                                     options_.max_bytes, " bytes in ",
                                                     options_.directory));
  }
  const std::uint64_t file_bytes = std::min(kMaxFileBytes, options_.max_bytes / kFilesOfBound);
  if (files_.empty() || files_.back().inherited || files_.back().end >= file_bytes) {
    PS_RETURN_IF_ERROR(AddFile());
  }
  File& file = files_.back();
  if (!WriteRecord(file.fd, file.end, kind, id, payload)) {
    const absl::Status failed = Failed(file.path, "write");
    // What was written has no header; if it cannot be cut off, the next record overwrites it.
    [[maybe_unused]] const int cut = ftruncate(file.fd, static_cast<off_t>(file.end));
    return failed;
  }
  file.unread.push_back({file.end, payload.size()});
  file.end += bytes;
  bytes_ += bytes;
  ++file.held;
  ++unread_;
  return file.number;
}

void Spool::SkipLast() {
  files_.back().unread.pop_back();
  --unread_;
}

Spool::File* Spool::Unread() {
  const auto file = std::ranges::find_if(files_, [](const File& f) { return !f.unread.empty(); });
  return file == files_.end() ? nullptr : &*file;
}

std::size_t Spool::next_bytes() const {
  return const_cast<Spool*>(this)->Unread()->unread.front().bytes;
}

Spool::Read Spool::Next() {
  File& file = *Unread();
  const Entry entry = file.unread.front();
  file.unread.pop_front();
  --unread_;
  Read out{.ticket = file.number, .inherited = file.inherited};
  RecordHeader header;
  Record record;
  record.payload.resize(entry.bytes);
  if (ReadHeader(file.fd, entry.offset, header) && header.bytes == entry.bytes &&
      ReadAll(file.fd, entry.offset + sizeof(header),
              std::as_writable_bytes(std::span(record.payload))) &&
      XXH3_64bits(record.payload.data(), entry.bytes) == header.payload_hash) {
    record.kind = header.kind;
    record.id = static_cast<std::int64_t>(header.sequence);
    out.record = std::move(record);
  } else {
    Release(std::exchange(out.ticket, kNoTicket));
  }
  return out;
}

void Spool::Release(Ticket ticket) {
  const auto file = std::ranges::find(files_, ticket, &File::number);
  if (file == files_.end()) return;
  --file->held;
  if (file->held == 0) RemoveEmptyFiles();
}

std::uint64_t Spool::held() const {
  std::uint64_t held = 0;
  for (const File& file : files_) held += file.held;
  return held;
}

void Spool::RemoveEmptyFiles() {
  std::erase_if(files_, [this](const File& file) {
    if (file.held > 0) return false;
    unlink(file.path.c_str());
    close(file.fd);
    bytes_ -= file.end;
    return true;
  });
}

}  // namespace ptychoserve::client::internal
