// The ZIP side of NPZ files: stored (uncompressed) members, sizes known beforehand. Layout and
// field names follow PKWARE's APPNOTE.TXT, 4.3 and 4.5.3 (ZIP64).

#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/io/npy.h"

namespace ptychoserve {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kCentralHeader = 0x02014b50;
constexpr std::uint32_t kEndOfCentralDirectory = 0x06054b50;
constexpr std::uint32_t kZip64EndOfCentralDirectory = 0x06064b50;
constexpr std::uint32_t kZip64Locator = 0x07064b50;
constexpr std::uint16_t kZip64ExtraTag = 0x0001;
constexpr std::uint16_t kVersionPlain = 20;  // 2.0
constexpr std::uint16_t kVersionZip64 = 45;  // 4.5
constexpr std::uint16_t kDate1980 = 0x0021;  // 1 January 1980: the same input, the same bytes.
constexpr std::uint32_t kInZip64 = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint16_t kInZip64Short = std::numeric_limits<std::uint16_t>::max();

// Little-endian fields.
class ZipRecord {
 public:
  ZipRecord& U16(std::uint64_t v) { return Put(v, 2); }
  ZipRecord& U32(std::uint64_t v) { return Put(v, 4); }
  ZipRecord& U64(std::uint64_t v) { return Put(v, 8); }
  ZipRecord& Text(const std::string& s) {
    bytes_ += s;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  ZipRecord& Put(std::uint64_t v, int size) {
    for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<char>(v >> (8 * i) & 0xff));
    return *this;
  }
  std::string bytes_;
};

struct Member {
  std::string name;
  std::uint32_t crc = 0;
  std::uint64_t size = 0;
  std::uint64_t offset = 0;
  bool big() const { return size >= kInZip64; }
};

// Version, flags (none), method (stored), time, date, CRC, both sizes: shared by both headers.
void PutCommon(ZipRecord& record, const Member& m, bool zip64, bool sizes_in_extra) {
  const std::uint64_t size = sizes_in_extra ? kInZip64 : m.size;
  record.U16(zip64 ? kVersionZip64 : kVersionPlain).U16(0).U16(0).U16(0).U16(kDate1980);
  record.U32(m.crc).U32(size).U32(size).U16(m.name.size());
}

std::string LocalHeader(const Member& m) {
  ZipRecord extra;
  if (m.big()) extra.U16(kZip64ExtraTag).U16(16).U64(m.size).U64(m.size);
  ZipRecord r;
  r.U32(kLocalHeader);
  PutCommon(r, m, m.big(), m.big());
  r.U16(extra.bytes().size()).Text(m.name).Text(extra.bytes());
  return r.bytes();
}

std::string CentralHeader(const Member& m) {
  const bool far = m.offset >= kInZip64;
  ZipRecord extra;
  if (m.big() || far) {
    extra.U16(kZip64ExtraTag).U16((m.big() ? 16 : 0) + (far ? 8 : 0));
    if (m.big()) extra.U64(m.size).U64(m.size);
    if (far) extra.U64(m.offset);
  }
  const bool zip64 = m.big() || far;
  ZipRecord r;
  r.U32(kCentralHeader).U16(zip64 ? kVersionZip64 : kVersionPlain);
  PutCommon(r, m, zip64, m.big());
  // Comment length, disk, internal and external attributes: none.
  r.U16(extra.bytes().size()).U16(0).U16(0).U16(0).U32(0);
  r.U32(far ? kInZip64 : m.offset).Text(m.name).Text(extra.bytes());
  return r.bytes();
}

std::string EndRecords(std::uint64_t members, std::uint64_t offset, std::uint64_t size) {
  const bool zip64 = members >= kInZip64Short || offset >= kInZip64 || size >= kInZip64;
  ZipRecord r;
  if (zip64) {
    constexpr std::uint64_t kSizeOfRest = 44;
    r.U32(kZip64EndOfCentralDirectory).U64(kSizeOfRest).U16(kVersionZip64).U16(kVersionZip64);
    r.U32(0).U32(0).U64(members).U64(members).U64(size).U64(offset);
    r.U32(kZip64Locator).U32(0).U64(offset + size).U32(1);
  }
  r.U32(kEndOfCentralDirectory).U16(0).U16(0);
  r.U16(zip64 ? kInZip64Short : members).U16(zip64 ? kInZip64Short : members);
  r.U32(zip64 ? kInZip64 : size).U32(zip64 ? kInZip64 : offset).U16(0);
  return r.bytes();
}

// Counts what it writes; the first failure sticks.
class Output {
 public:
  explicit Output(const std::string& path) : file_(std::fopen(path.c_str(), "wb")) {}
  ~Output() {
    if (file_ != nullptr) std::fclose(file_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void Write(const void* data, std::size_t size) {
    failed_ =
        failed_ || file_ == nullptr || (size > 0 && std::fwrite(data, 1, size, file_) != size);
    offset_ += size;
  }
  std::uint64_t offset() const { return offset_; }
  bool Close() {
    if (file_ == nullptr) return false;
    failed_ = std::fclose(file_) != 0 || failed_;
    file_ = nullptr;
    return !failed_;
  }

 private:
  std::FILE* file_;
  std::uint64_t offset_ = 0;
  bool failed_ = false;
};

}  // namespace

absl::Status WriteNpz(const std::string& path,
                      const std::vector<std::pair<std::string, NpyArray>>& arrays) {
  std::vector<std::string> headers;
  std::vector<Member> members;
  for (const auto& [name, array] : arrays) {
    for (const Member& other : members) {
      if (other.name == name + ".npy") {
        return absl::InvalidArgumentError(absl::StrCat(path, ": two arrays named '", name, "'"));
      }
    }
    absl::StatusOr<std::string> header = NpyHeader(array);
    if (!header.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": array '", name, "': ", header.status().message()));
    }
    headers.push_back(*std::move(header));
    members.push_back({.name = name + ".npy", .size = headers.back().size() + array.data.size()});
  }

  Output out(path);
  std::string directory;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    Member& m = members[i];
    const std::vector<std::byte>& data = arrays[i].second.data;
    uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(headers[i].data()), headers[i].size());
    if (!data.empty()) {  // crc32_z takes a null pointer for a request of the initial value.
      crc = crc32_z(crc, reinterpret_cast<const Bytef*>(data.data()), data.size());
    }
    m.crc = static_cast<std::uint32_t>(crc);
    m.offset = out.offset();
    const std::string local = LocalHeader(m);
    out.Write(local.data(), local.size());
    out.Write(headers[i].data(), headers[i].size());
    out.Write(data.data(), data.size());
    directory += CentralHeader(m);
  }
  const std::string end = EndRecords(members.size(), out.offset(), directory.size());
  out.Write(directory.data(), directory.size());
  out.Write(end.data(), end.size());
  if (!out.Close()) {
    return absl::InternalError(absl::StrCat(path, ": writing failed: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace ptychoserve
