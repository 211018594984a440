#include "engine/io/record_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/failpoint.h"
#include "engine/base/status_macros.h"
#include "engine/io/payload_hash.h"
#include "engine/io/record_header.h"

namespace ptychoserve {
namespace {

constexpr char kFileMagic[] = "PSRECS01";
constexpr std::int64_t kFileMagicBytes = 8;
constexpr std::uint32_t kRecordMagic = 0x43525350;  // "PSRC"
constexpr mode_t kMode = 0600;
constexpr int kMaxPieces = 512;  // At most IOV_MAX.

constexpr std::int64_t kHeaderBytes = sizeof(RecordHeader);

absl::Status Failed(const char* what, const std::string& path, int error) {
  const std::string text = absl::StrCat(what, " ", path, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  if (error == ENOENT) return absl::NotFoundError(text);
  return absl::InternalError(text);
}

absl::Status WriteAll(int fd, const std::string& path, std::vector<iovec> pieces) {
  if (const int error = Failpoint("record.write"); error != 0) return Failed("write", path, error);
  std::size_t next = 0;
  while (next < pieces.size()) {
    const int count = static_cast<int>(std::min<std::size_t>(pieces.size() - next, kMaxPieces));
    ssize_t written = writev(fd, pieces.data() + next, count);
    if (written < 0) {
      if (errno == EINTR) continue;
      return Failed("write", path, errno);
    }
    while (next < pieces.size() && written >= static_cast<ssize_t>(pieces[next].iov_len)) {
      written -= static_cast<ssize_t>(pieces[next++].iov_len);
    }
    if (written > 0) {
      pieces[next].iov_base = static_cast<std::byte*>(pieces[next].iov_base) + written;
      pieces[next].iov_len -= static_cast<std::size_t>(written);
    }
  }
  return absl::OkStatus();
}

absl::Status SyncPath(const std::string& path, int flags) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (fd < 0) return Failed("open", path, errno);
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return error == 0 ? absl::OkStatus() : Failed("sync", path, error);
}

iovec PieceOf(const void* data, std::size_t bytes) { return {const_cast<void*>(data), bytes}; }

}  // namespace

// --- Writing ---------------------------------------------------------------------------------

RecordWriter::~RecordWriter() { Close(); }
RecordWriter::RecordWriter(RecordWriter&& other) noexcept { *this = std::move(other); }
RecordWriter& RecordWriter::operator=(RecordWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void RecordWriter::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

absl::StatusOr<RecordWriter> RecordWriter::Create(const std::string& path) {
  RecordWriter writer;
  writer.path_ = path;
  if (const int error = Failpoint("record.create"); error != 0) {
    return Failed("create", path, error);
  }
  writer.fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kMode);
  if (writer.fd_ < 0) return Failed("create", path, errno);
  PS_RETURN_IF_ERROR(WriteAll(writer.fd_, path, {PieceOf(kFileMagic, kFileMagicBytes)}));
  writer.bytes_ = kFileMagicBytes;
  return writer;
}

absl::Status RecordWriter::Append(std::uint32_t kind, std::uint64_t sequence,
                                  std::span<const std::span<const std::byte>> payload,
                                  std::uint64_t payload_hash) {
  RecordHeader header{
      .magic = kRecordMagic, .kind = kind, .sequence = sequence, .payload_hash = payload_hash};
  std::vector<iovec> pieces = {PieceOf(&header, kHeaderBytes)};
  for (const auto& piece : payload) {
    if (piece.empty()) continue;
    header.bytes += piece.size();
    pieces.push_back(PieceOf(piece.data(), piece.size()));
  }
  header.header_hash = header.Hash();
  PS_RETURN_IF_ERROR(WriteAll(fd_, path_, std::move(pieces)));
  bytes_ += kHeaderBytes + static_cast<std::int64_t>(header.bytes);
  return absl::OkStatus();
}

absl::Status RecordWriter::Append(std::uint32_t kind, std::uint64_t sequence,
                                  std::span<const std::byte> payload) {
  return Append(kind, sequence, std::span(&payload, 1), PayloadHash(payload));
}

absl::Status RecordWriter::Sync() {
  if (const int error = Failpoint("record.sync"); error != 0) return Failed("sync", path_, error);
  if (fdatasync(fd_) != 0) return Failed("sync", path_, errno);
  return absl::OkStatus();
}

std::string RecordFileBegin() { return std::string(kFileMagic, kFileMagicBytes); }

std::string RecordHeaderBytes(const Record& record) {
  RecordHeader header{.magic = kRecordMagic,
                      .kind = record.kind,
                      .sequence = record.sequence,
                      .bytes = record.payload.size(),
                      .payload_hash = PayloadHash(record.payload)};
  header.header_hash = header.Hash();
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header));
}

// --- Reading ---------------------------------------------------------------------------------

RecordReader::~RecordReader() {
  if (fd_ >= 0) close(fd_);
}
RecordReader::RecordReader(RecordReader&& other) noexcept { *this = std::move(other); }
RecordReader& RecordReader::operator=(RecordReader&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(offset_, other.offset_);
  std::swap(lost_bytes_, other.lost_bytes_);
  std::swap(payload_, other.payload_);
  return *this;
}

absl::StatusOr<RecordReader> RecordReader::Open(const std::string& path) {
  RecordReader reader;
  reader.path_ = path;
  reader.fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (reader.fd_ < 0) return Failed("open", path, errno);
  struct stat info {};
  if (fstat(reader.fd_, &info) != 0) return Failed("stat", path, errno);
  reader.size_ = info.st_size;
  std::array<std::byte, kFileMagicBytes> magic;
  PS_ASSIGN_OR_RETURN(const bool there, reader.ReadAt(0, magic));
  if (!there || std::memcmp(magic.data(), kFileMagic, kFileMagicBytes) != 0) {
    return absl::DataLossError(absl::StrCat(path, ": not a file of records"));
  }
  reader.offset_ = kFileMagicBytes;
  return reader;
}

absl::StatusOr<bool> RecordReader::ReadAt(std::int64_t offset, std::span<std::byte> to) const {
  if (offset + static_cast<std::int64_t>(to.size()) > size_) return false;
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t n =
        pread(fd_, to.data() + done, to.size() - done, offset + static_cast<std::int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("read", path_, errno);
    if (n == 0) return false;  // Shorter than a moment ago.
    done += static_cast<std::size_t>(n);
  }
  return true;
}

absl::StatusOr<std::int64_t> RecordReader::FindHeader(std::int64_t offset) const {
  constexpr std::int64_t kBlock = 1 << 20;
  std::vector<std::byte> block;
  for (; offset + kHeaderBytes <= size_; offset += kBlock) {
    // Headers that begin in the block's first kBlock bytes lie wholly within it.
    block.resize(static_cast<std::size_t>(std::min(kBlock + kHeaderBytes, size_ - offset)));
    PS_ASSIGN_OR_RETURN(const bool there, ReadAt(offset, block));
    if (!there) break;
    for (std::size_t at = 0; at + kHeaderBytes <= block.size(); ++at) {
      RecordHeader header;
      std::memcpy(&header, block.data() + at, sizeof header);
      if (header.IsWhole(kRecordMagic)) return offset + static_cast<std::int64_t>(at);
    }
  }
  return size_;
}

absl::StatusOr<std::optional<Record>> RecordReader::Next() {
  while (offset_ < size_) {
    RecordHeader header;
    PS_ASSIGN_OR_RETURN(const bool there,
                        ReadAt(offset_, std::as_writable_bytes(std::span(&header, 1))));
    const auto room = static_cast<std::uint64_t>(size_ - offset_ - kHeaderBytes);
    if (there && header.IsWhole(kRecordMagic) && header.bytes <= room) {
      payload_.resize(header.bytes);
      PS_ASSIGN_OR_RETURN(const bool whole, ReadAt(offset_ + kHeaderBytes, payload_));
      if (whole && PayloadHash(payload_) == header.payload_hash) {
        offset_ += kHeaderBytes + static_cast<std::int64_t>(header.bytes);
        return Record{header.kind, header.sequence, payload_};
      }
    }
    const std::int64_t from = offset_;
    PS_ASSIGN_OR_RETURN(offset_, FindHeader(from + 1));
    lost_bytes_ += offset_ - from;
  }
  return std::nullopt;
}

// --- Whole files -----------------------------------------------------------------------------

absl::Status SyncFile(const std::string& path) { return SyncPath(path, 0); }
absl::Status SyncDirectory(const std::string& path) { return SyncPath(path, O_DIRECTORY); }

absl::Status ReplaceRecordFile(const std::string& path, std::span<const Record> records) {
  const std::string temporary = path + ".new";
  const auto point = [&](const char* name) {
    const int error = Failpoint(name);
    return error == 0 ? absl::OkStatus() : Failed("replace", path, error);
  };
  PS_RETURN_IF_ERROR(point("replace.before_write"));
  {
    PS_ASSIGN_OR_RETURN(RecordWriter writer, RecordWriter::Create(temporary));
    for (const Record& record : records) {
      PS_RETURN_IF_ERROR(writer.Append(record.kind, record.sequence, record.payload));
    }
    PS_RETURN_IF_ERROR(point("replace.before_sync"));
    PS_RETURN_IF_ERROR(writer.Sync());
  }
  PS_RETURN_IF_ERROR(point("replace.before_rename"));
  if (rename(temporary.c_str(), path.c_str()) != 0) return Failed("rename", path, errno);
  PS_RETURN_IF_ERROR(point("replace.after_rename"));
  return SyncDirectory(std::filesystem::path(path).parent_path().string());
}

}  // namespace ptychoserve
