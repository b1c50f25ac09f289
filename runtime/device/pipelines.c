/* Pipelines: one for each kernel and list of specialization constants, made when first asked for and kept as long
 * as the device. All share one descriptor set layout and one pipeline layout. */
#include "runtime/device/specialise.h"
#include "runtime/device/vulkan_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tuff_result pipelines_init(tuff_device *device) {
    VkDescriptorSetLayoutBinding bindings[MAX_BINDINGS + MAX_TEXELS];
    for (uint32_t i = 0; i < MAX_BINDINGS + MAX_TEXELS; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){ .binding = i,
                                                      .descriptorType = i < MAX_BINDINGS
                                                                            ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                                                            : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
                                                      .descriptorCount = 1,
                                                      .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT };
    const VkDescriptorSetLayoutCreateInfo set_info = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                                       .bindingCount = MAX_BINDINGS + MAX_TEXELS,
                                                       .pBindings = bindings };
    VkResult result = device->vk.vkCreateDescriptorSetLayout(device->handle, &set_info, NULL, &device->set_layout);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "creating the descriptor set layout");
    device->counters.objects++;
    const VkPushConstantRange params = { VK_SHADER_STAGE_COMPUTE_BIT, 0, MAX_PARAMS * sizeof(uint32_t) };
    const VkPipelineLayoutCreateInfo layout_info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                                     .setLayoutCount = 1,
                                                     .pSetLayouts = &device->set_layout,
                                                     .pushConstantRangeCount = 1,
                                                     .pPushConstantRanges = &params };
    result = device->vk.vkCreatePipelineLayout(device->handle, &layout_info, NULL, &device->pipeline_layout);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "creating the pipeline layout");
    device->counters.objects++;
    TRY(pipeline_cache_init(device));
    object_name(device, VK_OBJECT_TYPE_DESCRIPTOR_SET_LAYOUT, HANDLE(device->set_layout), "kernel arguments");
    object_name(device, VK_OBJECT_TYPE_PIPELINE_LAYOUT, HANDLE(device->pipeline_layout), "kernels");
    return TUFF_OK;
}

void pipelines_finish(tuff_device *device) {
    pipeline_cache_finish(device);
    for (uint32_t i = 0; i < device->pipeline_capacity; i++) {
        struct pipeline *p = device->pipelines[i];
        if (p) device->vk.vkDestroyPipeline(device->handle, p->handle, NULL);
        free(p);
    }
    free(device->pipelines);
    if (device->pipeline_layout) device->vk.vkDestroyPipelineLayout(device->handle, device->pipeline_layout, NULL);
    if (device->set_layout) device->vk.vkDestroyDescriptorSetLayout(device->handle, device->set_layout, NULL);
}

/* ---- the map ----------------------------------------------------------------------------------- */

static uint64_t hash_key(uint32_t kernel, const uint32_t *constants, uint32_t count) {
    uint64_t hash = UINT64_C(14695981039346656037) ^ (uint64_t)kernel; /* FNV-1a, by words */
    for (uint32_t i = 0; i < count; i++) {
        hash ^= constants[i];
        hash *= UINT64_C(1099511628211);
        hash ^= hash >> 29;
    }
    return hash * UINT64_C(0x9E3779B97F4A7C15) >> 8;
}

/* The slot of this key, or the free one where it belongs. */
static struct pipeline **find_slot(struct pipeline **map, uint32_t capacity, uint64_t hash, uint32_t kernel,
                                   const uint32_t *constants, uint32_t count) {
    for (uint32_t i = (uint32_t)(hash % capacity);; i = (i + 1) % capacity) {
        struct pipeline *p = map[i];
        if (!p) return &map[i];
        if (p->hash == hash && p->kernel == kernel && p->constant_count == count
            && (count == 0 || memcmp(p->constants, constants, count * sizeof *constants) == 0))
            return &map[i];
    }
}

static tuff_result grow_map(tuff_device *device) {
    if (device->pipeline_count * 2 < device->pipeline_capacity) return TUFF_OK;
    uint32_t capacity = device->pipeline_capacity ? device->pipeline_capacity * 2 : 64;
    struct pipeline **map = calloc(capacity, sizeof *map);
    if (!map) return error_out_of_host_memory(capacity * sizeof *map);
    for (uint32_t i = 0; i < device->pipeline_capacity; i++) {
        struct pipeline *p = device->pipelines[i];
        if (p) *find_slot(map, capacity, p->hash, p->kernel, p->constants, p->constant_count) = p;
    }
    free(device->pipelines);
    device->pipelines = map;
    device->pipeline_capacity = capacity;
    return TUFF_OK;
}

/* ---- making one -------------------------------------------------------------------------------- */

/* The kernel with its constants folded in by us: some drivers take seconds over what the constants decide. */
static tuff_result create_module(tuff_device *device, const struct pipeline *p, VkShaderModule *module) {
    const struct kernel_code *code = device_kernel(device, p->kernel);
    uint32_t *words = NULL;
    size_t size = code->size;
    if (p->kernel < KERNEL_COUNT)
        TRY(spirv_specialise(code->words, code->size, p->constants, p->constant_count, &words, &size));
    const VkShaderModuleCreateInfo info = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                            .codeSize = size,
                                            .pCode = words ? words : code->words };
    VkResult result = device->vk.vkCreateShaderModule(device->handle, &info, NULL, module);
    free(words);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "creating the shader module of %s", code->name);
    device->counters.objects++;
    object_name(device, VK_OBJECT_TYPE_SHADER_MODULE, HANDLE(*module), code->name);
    return TUFF_OK;
}

static tuff_result create_pipeline(tuff_device *device, struct pipeline *p) {
    VkShaderModule module;
    TRY(create_module(device, p, &module));
    /* a user's kernel goes to the driver as it is, with its constants */
    VkSpecializationMapEntry entries[MAX_CONSTANTS];
    for (uint32_t i = 0; i < p->constant_count; i++)
        entries[i] = (VkSpecializationMapEntry){ i, i * sizeof(uint32_t), sizeof(uint32_t) };
    const VkSpecializationInfo constants = { p->constant_count, entries, p->constant_count * sizeof(uint32_t),
                                             p->constants };
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = VK_PIPELINE_CREATE_DISPATCH_BASE_BIT, /* so that a long dispatch can be split */
        .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                   .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                   .module = module,
                   .pName = "main",
                   .pSpecializationInfo = p->kernel < KERNEL_COUNT ? NULL : &constants },
        .layout = device->pipeline_layout,
    };
    const char *name = device_kernel(device, p->kernel)->name;
    VkResult result =
        device->vk.vkCreateComputePipelines(device->handle, device->pipeline_cache, 1, &info, NULL, &p->handle);
    device->vk.vkDestroyShaderModule(device->handle, module, NULL);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "creating a pipeline of the kernel %s", name);
    device->counters.objects++;
    device->counters.pipelines++;
    if (device->instance.SetDebugUtilsObjectNameEXT) {
        char text[128];
        int used = snprintf(text, sizeof text, "%s", name);
        for (uint32_t i = 0; i < p->constant_count && used > 0 && (size_t)used < sizeof text; i++)
            used += snprintf(text + used, sizeof text - (size_t)used, "%c%x", i ? ' ' : ':', p->constants[i]);
        object_name(device, VK_OBJECT_TYPE_PIPELINE, HANDLE(p->handle), text);
    }
    return TUFF_OK;
}

tuff_result pipeline_get(tuff_device *device, uint32_t kernel, const uint32_t *constants, uint32_t count,
                         struct pipeline **out) {
    TRY(grow_map(device));
    uint64_t hash = hash_key(kernel, constants, count);
    struct pipeline **slot = find_slot(device->pipelines, device->pipeline_capacity, hash, kernel, constants, count);
    if (*slot) {
        *out = *slot;
        return TUFF_OK;
    }
    size_t size = sizeof(struct pipeline) + count * sizeof *constants;
    struct pipeline *p = calloc(1, size);
    if (!p) return error_out_of_host_memory(size);
    p->kernel = kernel;
    p->constant_count = count;
    p->hash = hash;
    if (count) memcpy(p->constants, constants, count * sizeof *constants);
    tuff_result result = create_pipeline(device, p);
    if (result != TUFF_OK) {
        free(p);
        return result;
    }
    *slot = p;
    device->pipeline_count++;
    *out = p;
    return TUFF_OK;
}
