#ifndef PTYCHOSERVE_ENGINE_IO_RECORD_FILE_H_
#define PTYCHOSERVE_ENGINE_IO_RECORD_FILE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Files of records that outlive the process that writes them: what was written and synchronised is
// read back as it was, and what was not, or has been damaged since, is never taken for a record.
//
// A file begins with the eight bytes "PSRECS01". A record is a header of 40 bytes, little-endian,
//   u32 "PSRC", u32 kind, u64 sequence, u64 payload bytes, u64 XXH3 of the payload,
//   u64 XXH3 of the 32 bytes before
// and the payload.
namespace ptychoserve {

struct Record {
  std::uint32_t kind = 0;
  std::uint64_t sequence = 0;  // The writer's; not looked at here.
  std::span<const std::byte> payload;
};

// The parts of such a file, for one that is made elsewhere.
std::string RecordFileBegin();
std::string RecordHeaderBytes(const Record& record);

// Appends records to a file of its own. After an error the file's end may be torn: write no more.
// Errors: kResourceExhausted when the disk is full, kInternal with the path and the system's words.
class RecordWriter {
 public:
  RecordWriter() = default;
  ~RecordWriter();
  RecordWriter(RecordWriter&& other) noexcept;
  RecordWriter& operator=(RecordWriter&& other) noexcept;

  // A new file; an old one of that name is replaced.
  static absl::StatusOr<RecordWriter> Create(const std::string& path);

  // The payload is given in pieces, one after the other, with its PayloadHash.
  absl::Status Append(std::uint32_t kind, std::uint64_t sequence,
                      std::span<const std::span<const std::byte>> payload,
                      std::uint64_t payload_hash);
  absl::Status Append(std::uint32_t kind, std::uint64_t sequence,
                      std::span<const std::byte> payload);
  // Returns when all that was appended is on disk.
  absl::Status Sync();
  std::int64_t bytes() const { return bytes_; }
  bool is_open() const { return fd_ >= 0; }
  void Close();

 private:
  std::string path_;
  int fd_ = -1;
  std::int64_t bytes_ = 0;
};

// Reads a file from begin to end. Damaged parts are stepped over to the next record that is whole.
class RecordReader {
 public:
  RecordReader() = default;
  ~RecordReader();
  RecordReader(RecordReader&& other) noexcept;
  RecordReader& operator=(RecordReader&& other) noexcept;

  // Errors: kNotFound; kDataLoss when it is not such a file.
  static absl::StatusOr<RecordReader> Open(const std::string& path);

  // The next record, valid until the next call; nullopt at the end. Errors: kInternal (reading
  // failed).
  absl::StatusOr<std::optional<Record>> Next();
  // Bytes that were stepped over so far: a torn end, or damage.
  std::int64_t lost_bytes() const { return lost_bytes_; }

 private:
  // False at the end of the file.
  absl::StatusOr<bool> ReadAt(std::int64_t offset, std::span<std::byte> to) const;
  // Where the next whole header lies, from `offset` on; the file's size when there is none.
  absl::StatusOr<std::int64_t> FindHeader(std::int64_t offset) const;

  std::string path_;
  int fd_ = -1;
  std::int64_t size_ = 0;
  std::int64_t offset_ = 0;
  std::int64_t lost_bytes_ = 0;
  std::vector<std::byte> payload_;
};

// Replaces `path` by a file of the given records: a reader, also after a crash at any moment, sees
// the old file or the new one. Failpoints: `replace.` before_write, before_sync, before_rename,
// after_rename. Errors: as RecordWriter.
absl::Status ReplaceRecordFile(const std::string& path, std::span<const Record> records);

// What has been written to the file, by whomever, is on disk when this returns. Errors: kInternal.
absl::Status SyncFile(const std::string& path);
// Makes the names in a directory as durable as the files. Errors: kInternal.
absl::Status SyncDirectory(const std::string& path);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_IO_RECORD_FILE_H_
