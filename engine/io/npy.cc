#include "engine/io/npy.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"

namespace ptychoserve {
namespace {

static_assert(std::endian::native == std::endian::little, "NPY data are written as they lie");

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kDataAlignment = 64;           // numpy.lib.format: data start aligned.
constexpr std::size_t kMaxHeaderBytes = 1u << 20;    // Ours and NumPy's are about 100 bytes.
constexpr std::size_t kVersion1HeaderLimit = 65536;  // Two bytes of length.

struct FileCloser {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, FileCloser>;

// One element of an array, as "<f4" describes it.
struct ElementType {
  char kind = 0;  // 'b', 'i', 'u', 'f' or 'c'.
  std::size_t size = 0;
};

absl::StatusOr<ElementType> ParseDescr(const std::string& descr) {
  if (descr.size() == 3 && descr[0] == '>' && descr[2] != '1') {
    return absl::InvalidArgumentError(
        absl::StrCat("type '", descr, "' is big-endian; only little-endian arrays are read"));
  }
  for (std::string_view known : {"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8",
                                 "<f4", "<f8", "<c8", "<c16"}) {
    if (known == descr) {
      return ElementType{known[1], static_cast<std::size_t>(known == "<c16" ? 16 : known[2] - '0')};
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("type '", descr,
                   "' is not supported; allowed are |b1 |i1 |u1 <i2 <u2 <i4 <u4 <i8 <u8 <f4 <f8 "
                   "<c8 <c16"));
}

std::optional<std::size_t> CheckedProduct(const std::vector<std::int64_t>& shape,
                                          std::size_t element_size) {
  std::size_t n = element_size;
  for (std::int64_t side : shape) {
    if (side < 0) return std::nullopt;
    if (__builtin_mul_overflow(n, static_cast<std::size_t>(side), &n)) return std::nullopt;
  }
  return n;
}

// Checks type and size; returns the type and the number of elements.
struct Layout {
  ElementType type;
  std::size_t count = 0;
};
absl::StatusOr<Layout> LayoutOf(const NpyArray& array) {
  PS_ASSIGN_OR_RETURN(const ElementType type, ParseDescr(array.descr));
  const std::optional<std::size_t> bytes = CheckedProduct(array.shape, type.size);
  if (!bytes || *bytes != array.data.size()) {
    return absl::InvalidArgumentError(absl::StrCat("shape (", absl::StrJoin(array.shape, ", "),
                                                   ") of '", array.descr, "' does not match ",
                                                   array.data.size(), " bytes of data"));
  }
  return Layout{type, array.data.size() / type.size};
}

template <typename T, typename Out>
void ConvertAs(const NpyArray& array, std::vector<Out>& out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, array.data.data() + i * sizeof(T), sizeof(T));
    if constexpr (std::is_arithmetic_v<T>) {
      out[i] = Out(static_cast<double>(value));
    } else {
      out[i] = Out(value.real(), value.imag());
    }
  }
}

template <typename Out>
bool ConvertReal(const NpyArray& array, ElementType type, std::vector<Out>& out) {
  switch (type.kind) {
    case 'b':
      ConvertAs<std::uint8_t>(array, out);
      return true;
    case 'i':
      if (type.size == 1) ConvertAs<std::int8_t>(array, out);
      if (type.size == 2) ConvertAs<std::int16_t>(array, out);
      if (type.size == 4) ConvertAs<std::int32_t>(array, out);
      if (type.size == 8) ConvertAs<std::int64_t>(array, out);
      return true;
    case 'u':
      if (type.size == 1) ConvertAs<std::uint8_t>(array, out);
      if (type.size == 2) ConvertAs<std::uint16_t>(array, out);
      if (type.size == 4) ConvertAs<std::uint32_t>(array, out);
      if (type.size == 8) ConvertAs<std::uint64_t>(array, out);
      return true;
    case 'f':
      if (type.size == 4) ConvertAs<float>(array, out);
      if (type.size == 8) ConvertAs<double>(array, out);
      return true;
    default:
      return false;
  }
}

template <typename T>
NpyArray FromValues(const char* descr, const std::vector<std::int64_t>& shape,
                    const std::vector<T>& values) {
  NpyArray array{descr, shape, std::vector<std::byte>(values.size() * sizeof(T))};
  if (!values.empty()) std::memcpy(array.data.data(), values.data(), array.data.size());
  return array;
}

// --- Header ----------------------------------------------------------------------------------

// Reads the Python dictionary of an NPY header: three known keys, in any order.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  absl::Status Parse(NpyArray& array) {
    bool descr = false, order = false, shape = false;
    if (!Take('{')) return Malformed("'{'");
    while (!Take('}')) {
      std::optional<std::string_view> key = TakeString();
      if (!key || !Take(':')) return Malformed("a key");
      if (*key == "descr") {
        const std::optional<std::string_view> value = TakeString();
        if (!value) {
          return absl::InvalidArgumentError(
              "'descr' is not a plain type; arrays of structures are not supported");
        }
        array.descr = std::string(*value);
        descr = true;
      } else if (*key == "fortran_order") {
        if (TakeWord("True")) {
          return absl::InvalidArgumentError(
              "the array is in Fortran order; save numpy.ascontiguousarray(array)");
        }
        if (!TakeWord("False")) return Malformed("True or False");
        order = true;
      } else if (*key == "shape") {
        if (!TakeShape(array.shape)) return Malformed("a shape");
        shape = true;
      } else {
        return absl::InvalidArgumentError(absl::StrCat("unknown header key '", std::string(*key),
                                                       "'; expected descr, fortran_order, shape"));
      }
      if (!Take(',') && !Peek('}')) return Malformed("',' or '}'");
    }
    if (!descr || !order || !shape) return Malformed("descr, fortran_order and shape");
    return absl::OkStatus();
  }

 private:
  absl::Status Malformed(const char* expected) const {
    return absl::InvalidArgumentError(
        absl::StrCat("malformed NPY header: expected ", expected, " at character ", at_));
  }
  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool Peek(char c) {
    SkipSpace();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool Take(char c) {
    if (!Peek(c)) return false;
    ++at_;
    return true;
  }
  bool TakeWord(std::string_view word) {
    SkipSpace();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  std::optional<std::string_view> TakeString() {
    const char quote = Peek('"') ? '"' : '\'';
    if (!Take(quote)) return std::nullopt;
    const std::size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view s = text_.substr(at_, end - at_);
    at_ = end + 1;
    return s;
  }
  bool TakeShape(std::vector<std::int64_t>& shape) {
    shape.clear();
    if (!Take('(')) return false;
    while (!Take(')')) {
      SkipSpace();
      std::int64_t value = 0;
      const std::size_t first = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
        if (__builtin_mul_overflow(value, std::int64_t{10}, &value) ||
            __builtin_add_overflow(value, std::int64_t{text_[at_] - '0'}, &value)) {
          return false;
        }
        ++at_;
      }
      if (at_ == first) return false;
      shape.push_back(value);
      if (!Take(',') && !Peek(')')) return false;
    }
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

absl::Status WithPath(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::StatusOr<NpyArray> ReadOpenNpy(std::FILE* file, std::uintmax_t file_size) {
  const auto truncated = [] { return absl::InvalidArgumentError("not an NPY file: too short"); };
  unsigned char start[12] = {};
  constexpr std::size_t kVersion1Start = 10, kVersion2Start = 12;
  if (std::fread(start, 1, kVersion1Start, file) != kVersion1Start) return truncated();
  if (std::memcmp(start, kMagic.data(), kMagic.size()) != 0) {
    return absl::InvalidArgumentError("not an NPY file: it does not begin with \\x93NUMPY");
  }
  const int major = start[6];
  std::size_t header_bytes = start[8] | start[9] << 8;
  std::size_t data_start = kVersion1Start;
  if (major == 2) {
    if (std::fread(start + kVersion1Start, 1, 2, file) != 2) return truncated();
    header_bytes |= static_cast<std::size_t>(start[10]) << 16;
    header_bytes |= static_cast<std::size_t>(start[11]) << 24;
    data_start = kVersion2Start;
  } else if (major != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("NPY format version ", major, " is not supported; allowed are 1 and 2"));
  }
  if (header_bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "NPY header of ", header_bytes, " bytes; at most ", kMaxHeaderBytes, " are read"));
  }
  std::string header(header_bytes, '\0');
  if (std::fread(header.data(), 1, header_bytes, file) != header_bytes) return truncated();
  data_start += header_bytes;

  NpyArray array;
  PS_RETURN_IF_ERROR(HeaderParser(header).Parse(array));
  PS_ASSIGN_OR_RETURN(const ElementType type, ParseDescr(array.descr));
  const std::optional<std::size_t> bytes = CheckedProduct(array.shape, type.size);
  // Checked against the file before anything is allocated.
  if (!bytes || *bytes > file_size - data_start) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape (", absl::StrJoin(array.shape, ", "), ") of '", array.descr,
                     "' needs more data than the ", file_size - data_start, " bytes there are"));
  }
  array.data.resize(*bytes);
  if (*bytes > 0 && std::fread(array.data.data(), 1, *bytes, file) != *bytes) {
    return absl::InternalError("reading the data failed");
  }
  return array;
}

}  // namespace

NpyArray NpyArray::FromComplex(const std::vector<std::int64_t>& shape,
                               const std::vector<Complex64>& values) {
  return FromValues("<c8", shape, values);
}
NpyArray NpyArray::FromFloat(const std::vector<std::int64_t>& shape,
                             const std::vector<float>& values) {
  return FromValues("<f4", shape, values);
}
NpyArray NpyArray::FromDouble(const std::vector<std::int64_t>& shape,
                              const std::vector<double>& values) {
  return FromValues("<f8", shape, values);
}

absl::StatusOr<std::vector<std::complex<double>>> NpyArray::ToComplexDouble() const {
  PS_ASSIGN_OR_RETURN(const Layout layout, LayoutOf(*this));
  std::vector<std::complex<double>> out(layout.count);
  if (layout.type.kind != 'c') {
    ConvertReal(*this, layout.type, out);
  } else if (layout.type.size == sizeof(Complex64)) {
    ConvertAs<Complex64>(*this, out);
  } else {
    ConvertAs<std::complex<double>>(*this, out);
  }
  return out;
}

absl::StatusOr<std::vector<double>> NpyArray::ToDouble() const {
  PS_ASSIGN_OR_RETURN(const Layout layout, LayoutOf(*this));
  std::vector<double> out(layout.count);
  if (!ConvertReal(*this, layout.type, out)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the array is complex ('", descr, "'); a real one is needed"));
  }
  return out;
}

absl::StatusOr<std::string> NpyHeader(const NpyArray& array) {
  PS_RETURN_IF_ERROR(LayoutOf(array).status());
  // A tuple of one needs its comma.
  std::string dict =
      absl::StrCat("{'descr': '", array.descr, "', 'fortran_order': False, 'shape': (",
                   absl::StrJoin(array.shape, ", "), array.shape.size() == 1 ? ",)" : ")", ", }");
  constexpr std::size_t kStart = 10;  // Magic, version, two bytes of length.
  const std::size_t unpadded = kStart + dict.size() + 1;
  dict.append((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment, ' ');
  dict.push_back('\n');
  if (dict.size() >= kVersion1HeaderLimit) {
    return absl::InvalidArgumentError(
        absl::StrCat("an array of ", array.shape.size(), " dimensions has too long a header"));
  }
  std::string header(kMagic);
  header.push_back('\x01');
  header.push_back('\x00');
  header.push_back(static_cast<char>(dict.size() & 0xff));
  header.push_back(static_cast<char>(dict.size() >> 8));
  return header + dict;
}

absl::StatusOr<NpyArray> ReadNpy(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  }
  if (error) return absl::InternalError(absl::StrCat(path, ": ", error.message()));
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
  absl::StatusOr<NpyArray> array = ReadOpenNpy(file.get(), size);
  if (!array.ok()) return WithPath(path, array.status());
  return array;
}

absl::Status WriteNpy(const std::string& path, const NpyArray& array) {
  const absl::StatusOr<std::string> header = NpyHeader(array);
  if (!header.ok()) return WithPath(path, header.status());
  File file(std::fopen(path.c_str(), "wb"));
  if (!file) return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
  const bool written =
      std::fwrite(header->data(), 1, header->size(), file.get()) == header->size() &&
      (array.data.empty() ||
       std::fwrite(array.data.data(), 1, array.data.size(), file.get()) == array.data.size());
  // Closing writes what is still buffered, so its result counts.
  if (std::fclose(file.release()) != 0 || !written) {
    return absl::InternalError(absl::StrCat(path, ": writing failed: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::StatusOr<ComplexStack> ReadProbeNpy(const std::string& path) {
  PS_ASSIGN_OR_RETURN(const NpyArray array, ReadNpy(path));
  const std::size_t rank = array.shape.size();
  if (rank != 2 && rank != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": a probe has shape (rows, cols) or (modes, rows, cols), not (",
                     absl::StrJoin(array.shape, ", "), ")"));
  }
  for (std::int64_t side : array.shape) {
    if (side < 1 || side > std::numeric_limits<int>::max()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": a probe of shape (", absl::StrJoin(array.shape, ", "), ")"));
    }
  }
  const absl::StatusOr<std::vector<std::complex<double>>> values = array.ToComplexDouble();
  if (!values.ok()) return WithPath(path, values.status());
  ComplexStack probe;
  probe.modes = rank == 3 ? static_cast<int>(array.shape[0]) : 1;
  probe.shape.rows = static_cast<int>(array.shape[rank - 2]);
  probe.shape.cols = static_cast<int>(array.shape[rank - 1]);
  probe.data.reserve(values->size());
  for (const std::complex<double>& v : *values) {
    const Complex64 single(v);  // A double may be finite, and too large for it.
    if (!std::isfinite(single.real()) || !std::isfinite(single.imag())) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": element ", probe.data.size(),
                       " of the probe is not finite in single precision"));
    }
    probe.data.push_back(single);
  }
  return probe;
}

absl::Status WriteProbeNpy(const std::string& path, const ComplexStack& probe) {
  return WriteNpy(
      path, NpyArray::FromComplex({probe.modes, probe.shape.rows, probe.shape.cols}, probe.data));
}

}  // namespace ptychoserve
